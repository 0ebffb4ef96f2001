"""A config as Python text in a millisecond.

mmengine formats it with yapf, half a second for a usual config, several times at each start and
once for each checkpoint.
"""

from pprint import pformat

from mmengine.config import Config

from segkit.compat import settings_of

_WIDTH = 100


def literal(value: object, width: int = _WIDTH) -> str:
    """``value`` as source text, without the two braces in which mmengine fills in names and
    variables of the environment before it parses a config: a folder may be called so."""
    return pformat(value, width=width, sort_dicts=False).replace('{{', '{\\x7b')


class PlainConfig(Config):
    """mmengine's ``Config`` with a fast ``pretty_text``, which ``dump`` writes."""

    @property
    def pretty_text(self) -> str:
        items = settings_of(self).items()
        return ''.join(f'{key} = {literal(value, _WIDTH - len(key) - 3)}\n' for key, value in items)


def plain_config(cfg: Config) -> Config:
    """``cfg`` itself, from now on with the fast text. Everything else about it stays."""
    if type(cfg) is Config:
        # Config's own __setattr__ would make a setting named __class__.
        object.__setattr__(cfg, '__class__', PlainConfig)
    return cfg
