"""A config as Python text in a millisecond.

mmengine formats it with yapf, half a second for a usual config, several times at each start and
once for each checkpoint.
"""

from typing import Any

from mmengine.config import Config

_WIDTH = 100


def _is_keyword_dict(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and k.isidentifier() for k in value)


def _items(value: Any) -> tuple[str, list[tuple[str, object]], str]:
    """(opening, [(prefix, item)], closing) of a container."""
    if _is_keyword_dict(value):
        return 'dict(', [(f'{k}=', v) for k, v in value.items()], ')'
    if isinstance(value, dict):
        return '{', [(f'{_plain(k)}: ', v) for k, v in value.items()], '}'
    brackets = '[]' if isinstance(value, list) else '()'
    return brackets[0], [('', v) for v in value], brackets[1]


def _plain(value: object) -> str:
    """``repr``, without the two braces in which mmengine fills in names and variables of the
    environment before it parses a config: a folder may be called so."""
    return repr(value).replace('{{', '{\\x7b') if isinstance(value, str) else repr(value)


def literal(value: object, indent: int = 0, taken: int = 0) -> str:
    """``value`` as source text, on one line if it fits beside ``taken`` columns."""
    if not isinstance(value, (dict, list, tuple)):
        return _plain(value)
    opening, items, closing = _items(value)
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    flat = opening + ', '.join(p + literal(v) for p, v in items) + comma + closing
    if '\n' not in flat and indent + taken + len(flat) <= _WIDTH:
        return flat
    pad = ' ' * (indent + 4)
    lines = [f'{pad}{p}{literal(v, indent + 4, len(p))}' for p, v in items]
    return f'{opening}\n' + ',\n'.join(lines) + f',\n{" " * indent}{closing}'


class PlainConfig(Config):
    """mmengine's ``Config`` with a fast ``pretty_text``, which ``dump`` writes."""

    @property
    def pretty_text(self) -> str:
        settings = self._to_lazy_dict() if hasattr(self, '_to_lazy_dict') else self.to_dict()
        return '\n'.join(f'{k} = {literal(v, 0, len(k) + 3)}' for k, v in settings.items()) + '\n'


def plain_config(cfg: Config) -> Config:
    """``cfg`` itself, from now on with the fast text. Everything else about it stays."""
    if type(cfg) is Config:
        # Config's own __setattr__ would make a setting named __class__.
        object.__setattr__(cfg, '__class__', PlainConfig)
    return cfg
