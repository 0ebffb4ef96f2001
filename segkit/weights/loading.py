"""Weights into a model, with a table of what went where.

Testing needs every weight: anything left out is an error. Fine-tuning expects differences (another
class count, a new head): they are reported, and the rest is loaded.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from segkit.command import command
from segkit.errors import CheckpointError, UserError, few
from segkit.shared_text import without_secrets

from .contents import dataset_meta_of, read_verified, state_dict_of
from .segformer_names import HEAD_ADVICE, has_their_head
from .state_dict_names import KeyMap, choose, of_semseg, wanted_key_map

# Older torch saved no batch counters, and nothing but momentum=None reads them.
_OPTIONAL = ('num_batches_tracked',)
# The auxiliary head serves training alone: without it predictions are the same.
_TRAINING_ONLY = ('auxiliary_head.',)


@dataclass
class LoadReport:
    """What ``load_into`` did. Names are state-dict keys; shapes are tuples.

    ``aside``: tensors of the file beside the weights that were taken. ``verified``: how the file
    was found to be whole, in words.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[tuple, tuple]] = field(default_factory=dict)
    dataset_meta: dict | None = None
    aside: list[str] = field(default_factory=list)
    verified: str = ''

    @property
    def complete(self) -> bool:
        """Whether predictions depend on nothing but the file."""
        names = [*self.missing, *self.unexpected, *self.mismatched]
        return all(name.startswith(_TRAINING_ONLY) for name in names)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(what happened, key, shape in the file, shape in the model), differences only."""
        rows = [
            ('left out: other shape', name, str(theirs), str(ours))
            for name, (theirs, ours) in self.mismatched.items()
        ]
        rows += [('not in the file', name, '-', 'kept as it was') for name in self.missing]
        rows += [('not in the model', name, 'left out', '-') for name in self.unexpected]
        return rows

    def table(self, limit: int = 40) -> str:
        """The differences as text, at most ``limit`` rows."""
        rows = self.rows()
        head = f'{self.source}: {len(self.loaded)} weights loaded, {len(rows)} differ'
        head += f' ({self.verified}).' if self.verified else '.'
        if self.aside:
            head += f' Left out beside them: {len(self.aside)} tensors ({few(self.aside, 3)}).'
        if not rows:
            return head
        from prettytable import PrettyTable

        shown = PrettyTable(['what', 'key', 'in the file', 'in the model'], align='l')
        shown.add_rows([list(row) for row in rows[:limit]])
        more = [f'... and {len(rows) - limit} more'] if len(rows) > limit else []
        return '\n'.join([head, shown.get_string(), *more])

    __str__ = table


def compare(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> LoadReport:
    """Sort the names of ``state`` and ``model`` into a report, loading nothing."""
    ours = model.state_dict()
    report = LoadReport(source)
    for name, tensor in state.items():
        if name not in ours:
            report.unexpected.append(name)
        elif tensor.shape != ours[name].shape:
            report.mismatched[name] = (tuple(tensor.shape), tuple(ours[name].shape))
        else:
            report.loaded.append(name)
    _refuse_strange(report, state, ours)
    report.missing = [name for name in ours if name not in state and not name.endswith(_OPTIONAL)]
    return report


def _refuse_strange(
    report: LoadReport, state: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]
) -> None:
    for name in report.loaded:
        tensor = state[name]
        for kind, is_so in (
            ('sparse', tensor.layout != torch.strided),
            ('quantized', tensor.is_quantized),
            ('without data, on the meta device,', tensor.is_meta and not ours[name].is_meta),
            ('complex', tensor.is_complex() and not ours[name].is_complex()),
        ):
            if is_so:
                raise CheckpointError(
                    f'{report.source}: {name} is {kind} and cannot be copied into a model; save '
                    'its weights as plain (dense, real) tensors.'
                )


def load_into(
    model: nn.Module,
    checkpoint: dict | str | Path,
    purpose: Literal['test', 'finetune'] = 'test',
    *,
    source: str | None = None,
    assign: bool = False,
    key_map: KeyMap | None = None,
    verified: str = '',
) -> LoadReport:
    """Load weights into ``model`` and say what was loaded and what was not.

    Args:
        checkpoint: a path or name (see ``load_checkpoint``), or what that returned.
        purpose: 'test' refuses a file that does not fit; 'finetune' loads what fits.
        source: the name for messages when ``checkpoint`` is a dict.
        assign: let the tensors of the file become those of the model, memory-mapped where it is
            read here; otherwise they are copied. For a model no optimizer knows yet, and a file
            nobody writes to: a process dies when a file it has mapped is cut short.
        key_map: chooses among sets of weights, and renames: see ``state_dict_names.choose``. By
            default what ``--key-map`` gave.
        verified: for the report, how the file was found to be whole if it was read before.

    Raises:
        CheckpointError: nothing fits, several sets of weights do, or, when testing, anything
            differs; holds the table.
    """
    if purpose not in ('test', 'finetune'):
        raise UserError(f"purpose={purpose!r}: must be 'test' or 'finetune'.")
    if not isinstance(checkpoint, dict):
        source = source or without_secrets(str(checkpoint))
        checkpoint, verified = read_verified(checkpoint, mmap=True)
    source = source or 'the checkpoint'
    model = getattr(model, 'module', model)  # under DDP the keys are those of the model inside
    key_map = wanted_key_map() if key_map is None else key_map
    chosen = choose(checkpoint, model.state_dict(), source, key_map)
    state = chosen.state if chosen else state_dict_of(checkpoint, source)
    report = compare(model, state, source)
    report.aside = chosen.aside if chosen else []
    report.verified = verified
    report.dataset_meta = dataset_meta_of(checkpoint)
    _judge(report, purpose)
    _fill(model, {name: state[name] for name in report.loaded}, assign)
    if purpose == 'test' and report.dataset_meta:
        model.dataset_meta = report.dataset_meta
    return report


def _judge(report: LoadReport, purpose: str) -> None:
    if not report.loaded and of_semseg(report.unexpected):
        raise CheckpointError(
            f"{report.source}: is of the authors' own code for PSPNet and PSANet (names such as "
            'layer0.0.weight), whose networks differ in stem and order from the published ones '
            f'here; take a checkpoint of `{command("model_zoo", "list")}`.'
        )
    if not report.loaded:
        raise CheckpointError(
            f'{report.table(12)}\nNothing in the file fits this model: is it the checkpoint of '
            'another network?'
        )
    if purpose == 'finetune' or report.complete:
        return
    raise CheckpointError(
        f'{report.table()}\nThe file does not fit the model, so its predictions would be wrong: '
        f'{_advice(report)} (For fine-tuning, where differences are expected, use load_from.)'
    )


def _advice(report: LoadReport) -> str:
    if has_their_head(report.unexpected):
        return HEAD_ADVICE
    for name, (theirs, ours) in report.mismatched.items():
        if name.endswith('conv_seg.weight') and theirs[1:] == ours[1:]:
            return (
                f'it was trained for {theirs[0]} classes and the model has {ours[0]}; set '
                f'num_classes={theirs[0]} in both heads, or use the config it was trained with.'
            )
    return 'use the config it was trained with.'


def _fill(model: nn.Module, state: dict[str, torch.Tensor], assign: bool) -> None:
    ours = model.state_dict()
    for name, tensor in state.items() if assign else ():  # copying converts by itself
        state[name] = tensor.to(device=ours[name].device, dtype=ours[name].dtype)
        if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            state[name] = state[name].contiguous()  # the maps would be channels last, too
    model.load_state_dict(state, strict=False, assign=assign)
