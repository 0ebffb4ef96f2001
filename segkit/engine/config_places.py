"""Where in a config the value is that an error of a constructor is about."""

import contextlib
import re
from collections.abc import Iterator, Mapping

from segkit.engine.config_options import flat_config
from segkit.engine.config_schema import RUNNER_KEYS
from segkit.errors import UserError

_MANY = 4  # places; more would not help


@contextlib.contextmanager
def places_named(cfg: Mapping) -> Iterator[None]:
    """Add to errors of our own, raised in the block, the settings that they speak of.

    A constructor knows its argument, not its place: where the message has the name and the value of
    a setting, the dotted key is added.
    """
    try:
        yield
    except UserError as error:
        places = list(_spoken_of(str(error), cfg))
        if error.args and 0 < len(places) <= _MANY:
            error.args = (f'{error.args[0]} In the config: {", ".join(places)}', *error.args[1:])
        raise


def _spoken_of(said: str, cfg: Mapping) -> Iterator[str]:
    words = set(re.findall(r'\w+', said))
    for key, value in _settings(cfg).items():
        if key in said or key.rpartition('.')[2] not in words:
            continue
        if isinstance(value, bool) or value is None or not _shown(value, said):
            continue
        yield f'{key}={value!r}'


def _shown(value: object, said: str) -> bool:
    forms = {repr(value), str(value)}
    if isinstance(value, (list, tuple)):
        forms |= {repr(tuple(value)), repr(list(value))}
    return any(re.search(rf'(?<![\w.]){re.escape(form)}(?![\w])', said) for form in forms)


def _settings(cfg: Mapping) -> dict[str, object]:
    return flat_config({name: cfg[name] for name in cfg if name in RUNNER_KEYS})
