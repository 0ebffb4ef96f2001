"""A file of weights into a timm model while timm makes it.

timm fits a file to the model it builds (names of other releases, position embeddings of another
size, images of other than three channels) before it takes out the parts that give feature maps.
So the weights are handed to it there; they are read as data, and what they filled is looked at.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mmengine.logging import print_log
from torch import Tensor, nn

from segkit.weights import CheckpointError, Undrawn, load_checkpoint, state_dict_of
from segkit.weights.loading import compare

_COUNTERS = ('num_batches_tracked',)


def filled_from(create: Any, source: str, **kwargs: object) -> nn.Module:
    """``create(**kwargs)``, a call of ``timm.create_model``, with the weights of a file.

    Args:
        source: whatever ``load_checkpoint`` takes.

    Raises:
        CheckpointError: nothing in the file fits, or it lacks weights of the feature maps; the
            message holds the table.
    """
    state = dict(state_dict_of(load_checkpoint(source), source))
    overlay = {'state_dict': state, 'source': '', 'custom_load': False}
    with _watched(source) as found:
        try:
            made = create(pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)
        except (KeyError, RuntimeError, ValueError, AssertionError) as error:
            if not found:  # before anything was loaded: timm could not read these names
                raise CheckpointError(
                    f'{source}: timm cannot fit it to {kwargs.get("model_name")} ({error}). The '
                    f'names in it: {", ".join(list(state)[:4])}, ...'
                ) from error
            raise
    for cfg in (made.pretrained_cfg, made.default_cfg):
        cfg.pop('state_dict', None)
    report, missing = found['report'], found['missing']
    kept = {id(value): name for name, value in made.state_dict(keep_vars=True).items()}
    report.missing = [kept[id(tensor)] for tensor in missing if id(tensor) in kept]
    if not report.loaded or report.missing:
        raise CheckpointError(
            f'{report.table(12)}\nThe file is not of {kwargs.get("model_name")}: give the weights '
            'of that model under the names that timm has for them.'
        )
    strange = _strange(create, str(kwargs['model_name']), report.unexpected)
    if strange:
        print_log(
            f'{source}: {len(strange)} weights were not used, {strange[0]} first: '
            f'{kwargs["model_name"]} has no such part. Is it of the model that was meant?',
            'current',
            logging.WARNING,
        )
    return made


def _strange(create: Any, model_name: str, unexpected: list[str]) -> list[str]:
    """Those that the whole model lacks, too: what classifies after the last map is none of them."""
    if not unexpected:
        return []
    with Undrawn():
        whole = create(model_name).state_dict()
    return [name for name in unexpected if name not in whole]


@contextmanager
def _watched(source: str) -> Iterator[dict[str, Any]]:
    """Within it a model takes of a state dict what fits; what did and what did not is handed on."""
    found: dict[str, object] = {}
    load = nn.Module.load_state_dict

    def take(
        model: nn.Module, state: Mapping[str, Tensor], *args: object, **kwargs: object
    ) -> object:
        report = compare(model, dict(state), source)
        ours = model.state_dict(keep_vars=True)
        lacking = [name for name in ours if name not in report.loaded]
        found['report'] = report
        found['missing'] = [ours[name] for name in lacking if not name.endswith(_COUNTERS)]
        return load(model, {name: state[name] for name in report.loaded}, strict=False)

    with patch.object(nn.Module, 'load_state_dict', take):
        yield found
