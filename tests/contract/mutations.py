"""Thirty faults put into the code one by one; a test must fail for each.

    make mutants                                   all of them, some minutes
    python tests/contract/mutations.py NAME ...    those whose name contains a NAME

Each row of ``MUTATIONS`` is a text of the code, what to put in its place, and the tests that are
to notice. The text is looked for in the file that is named first, then in all of segkit and tools,
so a row survives a move. A row whose text or test is gone is a failure as well: give it the text
that now does the same. Nothing of the checkout is touched: the faults go into a copy.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PARTS = ('segkit', 'tools', 'configs', 'tests', 'docs', 'requirements')
FILES = (
    'pyproject.toml',
    'setup.py',
    'README.md',
    'CONTRIBUTING.md',
    'model_zoo.md',
    'CHANGELOG.md',
)


class Mutation(NamedTuple):
    name: str
    file: str
    text: str
    fault: str
    test: str


LOSSES, HEADS = 'segkit/models/losses', 'segkit/models/decode_heads'
LOSS_TEST = 'tests/models/losses/test_cross_entropy_loss.py'
MUTATIONS = [
    Mutation('loss: mean over labelled pixels', f'{LOSSES}/stray_labels.py',
             'return label.numel()', 'return (label != ignore_index).sum()', LOSS_TEST),
    Mutation('loss: weighted mean over all', f'{LOSSES}/reduction.py',
             'return loss.sum() / (avg_factor', 'return loss.mean() / (avg_factor', LOSS_TEST),
    Mutation('loss: bands half a pixel off', f'{LOSSES}/bands.py',
             'return (i + 0.5) * (small / large) - 0.5', 'return i * (small / large)', LOSS_TEST),
    Mutation('loss: least likely classes count', f'{LOSSES}/accuracy.py',
             'descending=True, stable=True', 'descending=False, stable=True',
             'tests/models/losses/test_accuracy.py'),
    Mutation('head: CAM attends to the likest', f'{HEADS}/da_head.py',
             '(energy.amax(dim=-1, keepdim=True) - energy)',
             '(energy - energy.amax(dim=-1, keepdim=True))',
             'tests/models/decode_heads/test_da_head.py'),
    Mutation('head: PSA aligns if one side does', f'{HEADS}/psa_head.py',
             'if h % s and w % s:', 'if h % s or w % s:',
             'tests/models/decode_heads/test_psa_head.py'),
    Mutation('head: ISA pads at the end', f'{HEADS}/isa_head.py',
             'top, left = more_h // 2, more_w // 2', 'top, left = 0, 0',
             'tests/models/decode_heads/test_isa_head.py'),
    Mutation('head: PSP pools once', f'{HEADS}/psp_head.py',
             'CellPool(scale), mixer()', 'CellPool(1), mixer()',
             'tests/models/decode_heads/test_psp_head.py'),
    Mutation('head: the last of two losses counts', f'{HEADS}/decode_head.py',
             'losses[name] + value if name in losses else value', 'value',
             'tests/models/decode_heads/test_decode_head.py'),
    Mutation('head: FCN joins the other way round', f'{HEADS}/fcn_head.py',
             'torch.cat([x, feats], dim=1)', 'torch.cat([feats, x], dim=1)',
             'tests/models/decode_heads/test_fcn_head.py'),
    Mutation('ops: mask keeps columns outside', 'segkit/ops/psa_mask.py',
             '_zero_outside(out, columns, (4, 2) if mode == COLLECT else (2, 4))', 'pass',
             'tests/ops/test_psa_mask.py'),
    Mutation('ops: mask off its centre', 'segkit/ops/psa_window.py',
             'return (self.mask - 1) // 2', 'return self.mask // 2', 'tests/ops/test_psa_mask.py'),
    Mutation('ops: taps swapped', 'segkit/ops/conv_cat_upsampled.py',
             'weight.permute(3, 0, 2, 1)', 'weight.permute(2, 0, 3, 1)',
             'tests/ops/test_conv_cat_upsampled.py'),
    Mutation('layers: bias under a norm', 'segkit/models/layers.py',
             "bias = norm_cfg is None if bias == 'auto'", "bias = True if bias == 'auto'",
             'tests/models/test_layers.py'),
    Mutation('data: zero stays a class', 'segkit/datasets/label_maps.py',
             'np.where(table == 0, ignore, table - 1)', 'np.where(table == 0, 0, table - 1)',
             'tests/datasets/test_base.py'),
    Mutation('data: ranks overlap', 'segkit/datasets/samplers.py',
             'position, epoch, order = self.start + self.rank,',
             'position, epoch, order = self.start,', 'tests/datasets/test_samplers.py'),
    Mutation('data: rows decoded one short', 'segkit/datasets/row_codec.py',
             'for row in range(1, len(out)):', 'for row in range(2, len(out)):',
             'tests/datasets/test_cache.py'),
    Mutation('transform: any share will do', 'segkit/datasets/transforms/geometric.py',
             ' and counts.max() / counts.sum() < self.cat_max_ratio', '',
             'tests/datasets/test_transforms.py'),
    Mutation('transform: turned the other way', 'segkit/datasets/transforms/geometric.py',
             'cv2.getRotationMatrix2D(center, -angle, 1.0)',
             'cv2.getRotationMatrix2D(center, angle, 1.0)', 'tests/datasets/test_transforms.py'),
    Mutation('transform: bytes rounded', 'segkit/datasets/transforms/photometric.py',
             'np.clip(_BYTES * alpha + beta, 0, 255)',
             'np.clip(_BYTES * alpha + beta, 0, 255).round()', 'tests/datasets/test_transforms.py'),
    Mutation('score: ignored pixels count', 'segkit/evaluation/confusion.py',
             'counts[ignore_index] = 0', 'pass', 'tests/evaluation/test_confusion.py'),
    Mutation('score: union counts twice', 'segkit/evaluation/scores.py',
             'self.label_area + self.pred_area - self.intersect',
             'self.label_area + self.pred_area', 'tests/evaluation/test_scores.py'),
    Mutation('score: absent classes are 0', 'segkit/evaluation/scores.py',
             'values = values[~np.isnan(values)]', 'values = np.nan_to_num(values)',
             'tests/evaluation/test_scores.py'),
    Mutation('inference: last window missing', 'segkit/models/inference/sliding_window.py',
             'max(length - crop + stride - 1, 0) // stride + 1',
             'max(length - crop, 0) // stride + 1', 'tests/models/inference/test_windows.py'),
    Mutation('inference: softmax over rows', 'segkit/models/inference/views.py',
             'torch.softmax(logits, dim=0)', 'torch.softmax(logits, dim=1)',
             'tests/models/inference/test_views.py'),
    Mutation('engine: what was cut short stays', 'segkit/whole_file.py',
             'temporary.unlink()', 'pass', 'tests/test_whole_file.py'),
    Mutation('engine: oldest checkpoint first', 'segkit/engine/checkpoints.py',
             'sorted(numbered, reverse=True)', 'sorted(numbered)', 'tests/engine/test_resume.py'),
    Mutation('engine: getattr reaches on', 'segkit/safe_pickle.py',
             'if owner is not HistoryStandIn or name not in _STATISTICS:',
             'if owner is not HistoryStandIn and name not in _STATISTICS:',
             'tests/weights/test_safety.py'),
    Mutation('engine: patient once more', 'segkit/engine/hooks/early_stopping.py',
             'waited += 1', 'waited += 0', 'tests/engine/hooks/test_early_stopping.py'),
    Mutation('engine: averages stay in the weights', 'segkit/engine/validation.py',
             '_take_averages_out(self.runner)', 'pass',
             'tests/contract/test_parts_of_others.py'),
    Mutation('engine: half precision forgotten', 'segkit/engine/validation.py',
             'torch.autocast(device) if self.fp16', 'torch.autocast(device) if 0',
             'tests/contract/test_parts_of_others.py'),
    Mutation('engine: gradients left behind', 'segkit/engine/checkpoints.py',
             'parameter.grad = gradient.to(parameter.device)', 'pass',
             'tests/contract/test_parts_of_others.py'),
    Mutation('engine: schedules of several not restored', 'segkit/engine/checkpoints.py',
             "states.get(name, []) if isinstance(states, dict) else states", '[]',
             'tests/contract/test_parts_of_others.py'),
    Mutation('engine: hooks of one priority turned round', 'segkit/engine/components.py',
             'get_priority(h.priority) > rank', 'get_priority(h.priority) >= rank',
             'tests/contract/test_hooks_of_mmengine.py'),
    Mutation('engine: singletons of the other run', 'segkit/compat.py',
             'made.move_to_end(instance.instance_name)', 'pass',
             'tests/contract/test_hooks_of_mmengine.py'),
    Mutation('engine: a schedule by epochs ends with iterations', 'segkit/engine/optimizer.py',
             "end = max_epochs if config.get('by_epoch', True) else max_iters",
             'end = max_iters', 'tests/contract/test_hooks_of_mmengine.py'),
    Mutation('engine: epochs counted late', 'segkit/engine/train_loop.py',
             "runner.call_hook('after_train_epoch')\n                    self._epoch += 1",
             "self._epoch += 1\n                    runner.call_hook('after_train_epoch')",
             'tests/contract/test_hooks_of_mmengine.py'),
    Mutation('apis: below its threshold', 'segkit/apis/export/network.py',
             'sigmoid() > self.decode_head', 'sigmoid() < self.decode_head',
             'tests/apis/test_export.py::test_classes_of_a_binary_head_are_cut_at_its_threshold'),
    Mutation('apis: frames of a film numbered alike', 'segkit/apis/sources.py',
             '        number += 1', '        number += 0', 'tests/apis/test_sources.py'),
    Mutation('tools: other hash', 'tools/publish_model.py',
             'hashlib.sha256(buffer.getvalue())', 'hashlib.sha1(buffer.getvalue())',
             'tests/tools/test_publish_model.py'),
    Mutation('tools: differences the other way', 'tools/compare_runs.py',
             'b[name] - a[name]]', 'a[name] - b[name]]', 'tests/tools/test_compare_runs.py'),
]  # fmt: skip


def place(mutation: Mutation, tree: Path) -> Path | None:
    """The file that holds the text, once; None if none or several do."""
    named = tree / mutation.file
    if named.is_file() and named.read_text().count(mutation.text) == 1:
        return named
    found = [
        path
        for part in ('segkit', 'tools')
        for path in (tree / part).rglob('*.py')
        if mutation.text in path.read_text()
    ]
    return found[0] if len(found) == 1 and found[0].read_text().count(mutation.text) == 1 else None


def outcome(mutation: Mutation, tree: Path) -> str:
    """'caught', or what is wrong."""
    path = place(mutation, tree)
    if path is None:
        return f'GONE: the text is not there exactly once: {mutation.text}'
    if not (tree / mutation.test.partition('::')[0]).is_file():
        return f'GONE: there is no {mutation.test}'
    whole = path.read_text()
    path.write_text(whole.replace(mutation.text, mutation.fault))
    command = [sys.executable, '-m', 'pytest', '-q', '-x', mutation.test]
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONDONTWRITEBYTECODE='1')
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(whole)
    if done.returncode == 1 and ' failed' in done.stdout:
        return 'caught'
    if done.returncode == 0:
        return f'SURVIVED {mutation.test}'
    return f'NOT RUN (status {done.returncode}): {done.stdout[-300:]}{done.stderr[-300:]}'


def copy_to(tree: Path) -> None:
    for part in PARTS:
        ignored = shutil.ignore_patterns('__pycache__', '*.so')
        shutil.copytree(ROOT / part, tree / part, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, tree / file)


def main() -> None:
    chosen = [m for m in MUTATIONS if not sys.argv[1:] or any(w in m.name for w in sys.argv[1:])]
    caught = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_to(Path(folder))
        for mutation in chosen:
            said = outcome(mutation, Path(folder))
            caught += said == 'caught'
            print(f'{mutation.name:40} {said}', flush=True)
    print(f'{caught} of {len(chosen)} caught')
    sys.exit(caught != len(chosen))


if __name__ == '__main__':
    main()
