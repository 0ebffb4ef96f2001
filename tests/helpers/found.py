"""Everything of a kind that the package has, for tests that sweep over all of it.

A property that holds "for every head" is tested over what the registries and the folder of tools
hold today, so that a new head is swept without anyone thinking of it:

    from helpers import found

    @pytest.mark.parametrize('name', found.heads())
    def test_a_head_writes_into_nothing(name):
        head = found.heads()[name](**SMALL)

Each function returns a dict in order of name and asserts that it found at least ``MINIMUM`` of
its kind: a sweep over nothing passes for ever. Raise the number when something is added; lower
it only together with a line in CHANGELOG that names what went.

    heads backbones losses segmentors preprocessors    name -> class, from MODELS
    pixel_samplers datasets metrics hooks loops        name -> class, from their registries
    samplers visualizers                               (a class under two names is there twice)
    transforms                                         ours; ``inherited=True``: mmcv's too
    collations                                         name -> function
    tools                                              'train', 'dataset_converters/voc_aug' -> path
    benchmarks                                         the same for tools/benchmarks
    shell_tools                                        'dist_train.sh' -> path
    configs                                            'fcn/fcn_r50-...' -> path, bases left out
    bases                                              'models/psanet_r50-d8' -> path
    modules                                            'segkit.ops.psa_mask' -> path
    readers                                            'segkit/x.py:function' -> names of its calls
                                                       that read files, found in the source
"""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from segkit import registry as registries

Value = TypeVar('Value')
ROOT = Path(__file__).resolve().parents[2]
MINIMUM = {
    'heads': 9, 'backbones': 5, 'losses': 6, 'segmentors': 1, 'preprocessors': 1,
    'pixel_samplers': 1, 'datasets': 19, 'transforms': 27, 'inherited transforms': 39,
    'collations': 1, 'samplers': 5, 'metrics': 1, 'hooks': 13, 'loops': 3, 'visualizers': 1,
    'tools': 26, 'benchmarks': 13, 'shell_tools': 5, 'configs': 192, 'bases': 33, 'modules': 100,
    'readers': 20,
}  # fmt: skip
# Calls that turn bytes of a file or of a connection into values, by the last part of their name.
READING = {
    'load', 'loads', 'safe_load', 'full_load', 'load_file', 'safe_open', 'fromfile', 'memmap',
    'frombuffer', 'read_text', 'read_bytes', 'imread', 'imdecode', 'urlopen', 'urlretrieve',
    'load_checkpoint', 'loadmat', 'reader', 'DictReader', 'Unpickler', 'VideoCapture',
    'snapshot_download', 'hf_hub_download', 'open',
}  # fmt: skip


def _enough(kind: str, found: dict[str, Value]) -> dict[str, Value]:
    assert len(found) >= MINIMUM[kind], (
        f'{len(found)} {kind}, at least {MINIMUM[kind]} wanted: {", ".join(found)}'
    )
    return dict(sorted(found.items()))


def registered(registry: str, inherited: bool = False) -> dict[str, Callable]:
    """What ``segkit.registry.<registry>`` holds by itself, or with all that it falls back to."""
    node = getattr(registries, registry)
    held: dict[str, Callable] = {}
    while node is not None:
        node.import_from_location()
        held = {**node.module_dict, **held}
        node = node.parent if inherited else None
    shipped = ('segkit', 'mmengine', 'mmcv')  # not what a test has registered
    # What code around mmsegmentation asks for is registered when it is asked for: tests/familiar.
    return {
        name: part
        for name, part in held.items()
        if part.__module__.split('.')[0] in shipped
        and not part.__module__.startswith('segkit.familiar')
    }


def _models(kind: str, belongs: Callable[[str, type], bool]) -> dict[str, type]:
    held = {k: v for k, v in registered('MODELS').items() if inspect.isclass(v)}
    return _enough(kind, {name: cls for name, cls in held.items() if belongs(name, cls)})


def heads() -> dict[str, type]:
    from segkit.models import BaseDecodeHead

    return _models('heads', lambda name, cls: issubclass(cls, BaseDecodeHead))


def backbones() -> dict[str, type]:
    return _models('backbones', lambda name, cls: 'backbones' in cls.__module__)


def losses() -> dict[str, type]:
    return _models('losses', lambda name, cls: 'losses' in cls.__module__ or name.endswith('Loss'))


def segmentors() -> dict[str, type]:
    return _models('segmentors', lambda name, cls: hasattr(cls, 'encode_decode'))


def preprocessors() -> dict[str, type]:
    return _models('preprocessors', lambda name, cls: name.endswith('PreProcessor'))


def pixel_samplers() -> dict[str, Callable]:
    return _enough('pixel_samplers', registered('TASK_UTILS'))


def datasets() -> dict[str, Callable]:
    return _enough('datasets', registered('DATASETS'))


def transforms(inherited: bool = False) -> dict[str, Callable]:
    kind = 'inherited transforms' if inherited else 'transforms'
    return _enough(kind, registered('TRANSFORMS', inherited))


def collations() -> dict[str, Callable]:
    return _enough('collations', registered('FUNCTIONS'))


def samplers() -> dict[str, Callable]:
    return _enough('samplers', registered('DATA_SAMPLERS'))


def metrics() -> dict[str, Callable]:
    return _enough('metrics', registered('METRICS'))


def hooks() -> dict[str, Callable]:
    return _enough('hooks', registered('HOOKS'))


def loops() -> dict[str, Callable]:
    return _enough('loops', registered('LOOPS'))


def visualizers() -> dict[str, Callable]:
    return _enough('visualizers', registered('VISUALIZERS'))


def _scripts(kind: str, folder: str, patterns: list[str]) -> dict[str, Path]:
    home = ROOT / folder
    paths = [path for pattern in patterns for path in home.glob(pattern)]
    scripts = [path for path in paths if '__main__' in path.read_text()]
    return _enough(kind, {str(path.relative_to(home).with_suffix('')): path for path in scripts})


def tools() -> dict[str, Path]:
    """Scripts that a user types; ``helpers.run_tool.run_tool`` takes the names."""
    return _scripts('tools', 'tools', ['*.py', 'dataset_converters/*.py'])


def benchmarks() -> dict[str, Path]:
    return _scripts('benchmarks', 'tools/benchmarks', ['*.py'])


def shell_tools() -> dict[str, Path]:
    return _enough('shell_tools', {path.name: path for path in ROOT.glob('tools/*.sh')})


def _configs(kind: str, home: Path, bases: bool) -> dict[str, Path]:
    paths = [path for path in home.rglob('*.py') if bases or '_base_' not in path.parts]
    return _enough(kind, {str(path.relative_to(home).with_suffix('')): path for path in paths})


def configs() -> dict[str, Path]:
    return _configs('configs', ROOT / 'configs', bases=False)


def bases() -> dict[str, Path]:
    return _configs('bases', ROOT / 'configs' / '_base_', bases=True)


def modules() -> dict[str, Path]:
    """Every module of the package; a package is there under its own name."""
    paths = sorted((ROOT / 'segkit').rglob('*.py'))
    names = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in paths]
    found = {n.removesuffix('.__init__'): p for n, p in zip(names, paths) if '.shipped' not in n}
    return _enough('modules', found)


def _calls(node: ast.AST) -> set[str]:
    """Names of the reading calls in ``node``, those of functions inside it included."""
    called = [child.func for child in ast.walk(node) if isinstance(child, ast.Call)]
    dotted = {ast.unparse(func) for func in called if isinstance(func, ast.Attribute | ast.Name)}
    return {name for name in dotted if name.rsplit('.', 1)[-1] in READING}


def readers() -> dict[str, set[str]]:
    """Functions of segkit and tools with a call that reads: 'segkit/x.py:Class.method' -> calls.

    By the source, so a reader is found wherever it has moved. Calls that only write are among
    them (``open`` for writing): a sweep that judges readers says which it leaves out and why.
    """
    found = {}
    for path in [*(ROOT / 'segkit').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]:
        if '.shipped' in path.parts:
            continue
        for name, node in _functions(ast.parse(path.read_text()), ''):
            if calls := _calls(node):
                found[f'{path.relative_to(ROOT)}:{name}'] = calls
    return _enough('readers', found)


def _functions(node: ast.AST, prefix: str) -> list[tuple[str, ast.AST]]:
    functions: list[tuple[str, ast.AST]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            functions += _functions(child, f'{prefix}{child.name}.')
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((f'{prefix}{child.name}', child))
    return functions
