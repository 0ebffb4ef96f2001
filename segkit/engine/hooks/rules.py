"""Whether more or less of a scalar is better, told from its name when a config does not say."""

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
        raise ValueError(f"rule={rule!r} for {name!r} must be 'greater' or 'less'")
    lower = name.lower()
    if any(word in lower for word in _LESS):
        return 'less'
    if any(word in lower for word in _GREATER):
        return 'greater'
    raise ValueError(f"whether more {name!r} is better is unknown: set rule='greater' or 'less'")
