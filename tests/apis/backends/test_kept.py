"""Files made of a checkpoint: whole, found again, and bounded."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnx
import pytest
from torch import nn

from segkit.apis.backends import BackendError, exported, kept

KEY = 'open-0123456789abcde'


def graph(file):
    """The smallest file that reads as one of ONNX."""
    value = onnx.helper.make_tensor_value_info('x', 1, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], 'g', [value], [value])), file)


def opened(file):
    if not kept._is_whole(file):
        raise BackendError(f'{file}: half')
    return file


@pytest.fixture
def weights(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'w.pth').touch()
    return tmp_path / 'run' / 'w.pth'


def put(name, weights, size, age):
    file = weights.with_name(name)
    with open(file, 'wb') as whole:
        whole.truncate(size)
    os.utime(file, (age, age))
    return file


def test_a_file_that_is_not_whole_is_made_again(weights, capsys):
    name = f'w-{KEY}0.onnx'
    file = kept.kept(name, weights, graph, opened)
    whole = file.read_bytes()
    for broken in (b'', whole[: len(whole) // 2]):
        file.write_bytes(broken)
        assert kept.kept(name, weights, graph, opened) == file
        assert file.read_bytes() == whole
    assert capsys.readouterr().out.count('is not whole, and is made again') == 2


def test_a_whole_file_that_an_engine_refuses_is_not_made_again(weights):
    def refuse(file):
        raise BackendError(f'{file}: too new')

    made = []
    for _ in range(2):
        with pytest.raises(BackendError, match='too new'):
            kept.kept(f'w-{KEY}0.onnx', weights, lambda f: (made.append(f), graph(f)), refuse)
    assert len(made) == 1


def test_what_was_used_longest_ago_goes_first_and_nothing_of_others(weights, monkeypatch):
    monkeypatch.setattr(kept, 'AT_MOST', 3500)
    names = [f'w-{KEY}1.onnx', f'w-64x80-{KEY[5:]}2.onnx', f'w-{KEY}3-int8-{KEY[5:]}4.onnx']
    old = [put(name, weights, 1000, 100 + i) for i, name in enumerate(names)]
    others = ('w.onnx', f'v-{KEY}1.onnx', 'w-open.onnx', f'w-best-{KEY}1.onnx', 'w-notes.txt')
    theirs = [put(name, weights, 10000, 1) for name in others]
    drafts = [weights.with_name('.draft-old'), weights.with_name('.draft-new')]
    for draft in drafts:
        draft.mkdir()
    os.utime(drafts[0], (1, 1))
    kept.kept(names[0], weights, graph, lambda file: file)  # used: the latest of the three
    kept.kept(f'w-{KEY}5.onnx', weights, lambda f: put(f.name, f, 1000, 300), lambda file: file)
    assert [file.exists() for file in old] == [True, False, True]
    assert all(file.exists() for file in theirs)
    assert [draft.exists() for draft in drafts] == [False, True]


def test_a_link_and_a_long_name_keep_their_files_by_them(weights, tmp_path):
    link = tmp_path / 'best.pth'
    link.symlink_to(weights)
    name = f'{kept.stem_of(link)}-{KEY}0.onnx'
    assert kept.kept(name, link, graph, opened) == tmp_path / name
    long = weights.with_name('ä' * 120 + '.pth')
    name = f'{kept.stem_of(long)}-{KEY}0-int8-{KEY[5:]}4.onnx'
    assert kept.kept(name, long, graph, opened).exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's network, whose layer and size lie in files that it imports."""
    monkeypatch.syspath_prepend(tmp_path)
    parts = dict(
        own_net='from torch import nn\nimport own_layers\n'
        'class Net(nn.Module):\n    def forward(self, x):\n        return own_layers.twice(x)\n',
        own_layers='def twice(x):\n    from own_sizes import SIZE\n    return SIZE * x\n',
        own_sizes='SIZE = 2\n',
        own_other='ELSE = 1\n',
    )
    for name, text in parts.items():
        (tmp_path / f'{name}.py').write_text(text)
    for name in parts:
        __import__(name)
    yield tmp_path
    for name in parts:
        del sys.modules[name]


def test_code_that_a_users_network_imports_is_part_of_its_name(project):
    net = nn.Sequential(sys.modules['own_net'].Net())

    def code():
        return sorted(exported._code(net))

    before = code()
    (project / 'own_other.py').write_text('ELSE = 2\n')
    assert code() == before
    (project / 'own_sizes.py').write_text('SIZE = 3\n')
    assert code() != before


def test_the_version_of_a_package_is_part_of_its_networks_names(monkeypatch):
    kind = type('Layer', (nn.Module,), dict(__module__='somepackage.layers'))
    module = ModuleType('somepackage.layers')
    monkeypatch.setitem(sys.modules, 'somepackage', SimpleNamespace(__version__='1.0'))
    monkeypatch.setitem(sys.modules, 'somepackage.layers', module)
    before = sorted(exported._code(nn.Sequential(kind())))
    sys.modules['somepackage'].__version__ = '1.1'
    assert sorted(exported._code(nn.Sequential(kind()))) != before


class Plain:
    pass


@pytest.mark.parametrize('value', [nn.ReLU, Path, opened, Plain(), lambda x: x])
def test_values_of_a_config_are_named_alike_in_every_process(value):
    assert '0x' not in exported._named(value)
