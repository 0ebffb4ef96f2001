"""The scalar of validation that a hook watches: whether more of it is better, and its value."""

from collections.abc import Mapping, Sequence
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


def listed(names: str | Sequence[str] | None) -> list[str]:
    """A name alone, several, or none, as a list."""
    return [names] if isinstance(names, str) else list(names or ())


def better_rules(
    names: Sequence[str],
    rule: str | Sequence[str] | None,
    greater: Sequence[str] = (),
    less: Sequence[str] = (),
) -> dict[str, str]:
    """Name -> 'greater' or 'less'; of 'auto', which stands for a name that is not known yet, only
    where ``rule`` says so.

    Args:
        rule: one for all, or one each. greater, less: parts of names that tell, before those known.
    """
    rules: list[str | None] = [*listed(rule)] or [None]
    if len(rules) not in (1, len(names)):
        raise UserError(
            f'rule={rules!r}: give one for all of save_best={list(names)!r}, or one each'
        )
    found = {}
    for name, one in zip(names, rules if len(rules) == len(names) else rules * len(names)):
        if one is None and any(part in name for part in greater):
            one = 'greater'
        elif one is None and any(part in name for part in less):
            one = 'less'
        if name != 'auto' or one is not None:
            found[name] = better_rule(name, one)
    return found
