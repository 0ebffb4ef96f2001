"""The scalar of validation that a hook watches, and whether more or less of it is better."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from segkit.errors import UserError
from segkit.evaluation.scores import COLUMNS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

_GREATER = ('miou', 'macc', 'aacc', 'mdice', 'mfscore', 'acc', 'iou', 'dice', 'precision', 'recall')
_LESS = ('loss', 'error')


def better_rule(name: str, rule: str | None = None) -> str:
    """'greater' or 'less'.

    Raises:
        ValueError: the rule is neither, or it is not given and the name does not tell.
    """
    if rule in ('greater', 'less'):
        return rule
    if rule is not None:
        raise UserError(f"rule={rule!r} for {name!r} must be 'greater' or 'less'")
    head, _, of_class = name.rpartition('/')[2].partition('.')
    lower = (head if of_class and head in COLUMNS else name).lower()
    if any(word in lower for word in _LESS):
        return 'less'
    if any(word in lower for word in _GREATER):
        return 'greater'
    raise UserError(f"whether more {name!r} is better is unknown: set rule='greater' or 'less'")


def watched_score(runner: 'Runner', metrics: Mapping, name: str) -> float | None:
    """A scalar of a validation, or the score of a single class ('IoU.water') in percent.

    None where it was not measured; nan for a class that was in no label and no prediction.
    """
    if name in metrics:
        return float(metrics[name])
    evaluator = getattr(getattr(runner, 'val_loop', None), 'evaluator', None)
    for metric in getattr(evaluator, 'metrics', []):
        scores, prefix = getattr(metric, 'scores', None), getattr(metric, 'prefix', None)
        if scores is None:
            continue
        columns = scores.per_class()
        head, dot, of_class = name.removeprefix(f'{prefix}/' if prefix else '').partition('.')
        if dot and head in columns and of_class in scores.classes:
            return float(columns[head][list(scores.classes).index(of_class)])
    return None
