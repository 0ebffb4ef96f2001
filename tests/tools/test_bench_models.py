"""Benchmarks: one harness, and computations compared that give the same answer."""

import importlib
import runpy
import sys
from unittest import mock

import harness
import pytest
import torch
from helpers import found


def test_both_losses_have_one_gradient():
    bench = importlib.import_module('bench_loss')
    labels = torch.randint(0, 3, (2, 40, 48), dtype=torch.uint8)
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5, 6)
    gradients = []
    for form in bench.FORMS.values():
        leaf = logits.clone().requires_grad_()
        form(leaf, labels, True)
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def test_both_attentions_give_one_context():
    bench = importlib.import_module('bench_pam')
    inputs = bench.make_inputs(300, 'cpu', 'float32', grad=False)
    torch.testing.assert_close(*(form(*inputs) for form in bench.FORMS.values()))


def test_both_training_steps_are_of_one_network():
    bench = importlib.import_module('bench_train_step')
    networks = [bench.make_network(form, 5) for form in bench.HEADS]
    maps = [torch.randn(2, c, 6, 6) for c in (256, 512, 1024, 2048)]
    labels = torch.randint(0, 5, (2, 1, 48, 48), dtype=torch.uint8)
    samples = [bench.SegDataSample(gt_sem_seg=bench.PixelData(data=label)) for label in labels]
    for name in ('decode', 'aux'):
        losses = [network[name].eval().loss(maps, samples) for network in networks]
        assert losses[0].keys() == losses[1].keys()
        for key, value in losses[0].items():
            torch.testing.assert_close(value, losses[1][key], rtol=1e-4, atol=1e-5)


def test_whole_heads_agree_with_their_written_out_form():
    bench = importlib.import_module('bench_heads')
    small = {'in_channels': 16, 'channels': 8, 'num_classes': 5, 'norm_cfg': {'type': 'BN'}}
    for cls, written, extra, *_ in (bench.CASES[0], bench.CASES[-1]):
        extra = dict.fromkeys(extra, (9, 9))
        head = cls(**small, **extra).eval()
        x = torch.randn(1, 16, 9, 9)
        torch.testing.assert_close(head([x]), written(head, x), rtol=1e-4, atol=1e-5)


def test_every_benchmark_tells_how_to_run_it_and_imports_no_tests(capsys):
    scripts = {n: p for n, p in found.benchmarks().items() if 'harness import' in p.read_text()}
    assert len(scripts) >= 12
    for name, path in scripts.items():
        assert 'helpers' not in path.read_text(), name
        with (
            mock.patch.object(sys, 'argv', [str(path), '--help']),
            pytest.raises(SystemExit) as leaving,
        ):
            runpy.run_path(str(path), run_name='__main__')
        assert leaving.value.code == 0, name
        assert 'usage:' in capsys.readouterr().out


def test_a_result_names_the_machine_and_the_versions(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['bench', '--only', 'b_{device}', '--csv'])
    written = {}
    monkeypatch.setattr(harness, 'write_csv', written.__setitem__)
    calls = []
    rows = {
        name: lambda args, n=name: calls.append(n) or [{'ms': 3}] for name in ('a', 'b_{device}')
    }
    harness.run('Title.', rows)
    assert calls == ['b_{device}']
    (row,) = written['b_cpu']
    assert row['ms'] == 3
    for part in ('1 thread(s)', f'torch {torch.__version__}', 'numpy ', 'cv2 '):
        assert part in row['machine']
    assert '| 3 | ' in capsys.readouterr().out
