"""A config as its difference from the parts in configs/_base_, as our own leaves are written."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from segkit.engine.config_files import shipped_home

from .compare import differences

_MODEL, _DATA, _SCHEDULE = ('model',), ('train_dataloader', 'val_dataloader', 'test_dataloader'), (
    'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg',
)  # fmt: skip


def leaf_text(config: Config) -> str | None:
    """The text of a leaf that reads as ``config``; None where no parts of ours come near it."""
    bases = [
        _nearest(config, 'models', _MODEL),
        _nearest(config, 'datasets', _DATA),
        'default_runtime.py',
        _nearest(config, 'schedules', _SCHEDULE),
    ]
    lines = ', '.join(f"'segkit::_base_/{base}'" for base in bases)
    head = f'_base_ = [{lines}]\n'
    base = Config.fromstring(head, '.py').to_dict()
    wanted = config.to_dict()
    own = own_settings(base, wanted)
    body = Config(own).pretty_text if own else ''
    text = f'{head}\n{body}'
    read = Config.fromstring(text, '.py').to_dict()
    same = not any(True for key in wanted for _ in differences(wanted[key], read.get(key), key))
    return text if same else None


def _parts(folder: str) -> Iterator[Path]:
    home = shipped_home() / '_base_'
    return (path.relative_to(home) for path in sorted((home / folder).glob('*.py')))


def _nearest(config: Config, folder: str, sections: tuple[str, ...]) -> str:
    """The part of a folder with the fewest differences in its sections."""

    def distance(part: Path) -> int:
        base = Config.fromfile(shipped_home() / '_base_' / part)
        return sum(1 for key in sections for _ in differences(config.get(key), base.get(key), key))

    return min(_parts(folder), key=distance).as_posix()


def own_settings(base: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    """What a config with the settings ``base`` says itself to read as ``wanted``."""
    own = {key: _own(base.get(key, _SAME), value) for key, value in wanted.items()}
    return {key: value for key, value in own.items() if value is not _SAME}


_SAME = object()


def _own(base: object, wanted: object) -> object:
    """What to write over ``base`` for ``wanted``; _SAME for nothing."""
    if not isinstance(wanted, Mapping):
        equal = type(base) is type(wanted) and not any(True for _ in differences(base, wanted))
        return _SAME if equal else wanted
    if base is _SAME:
        return wanted
    # Only by writing it anew can a key be taken out, or a dict stand where there was none.
    if not isinstance(base, Mapping) or set(base) - set(wanted):
        return {'_delete_': True, **wanted}
    found = {key: _own(base.get(key, _SAME), value) for key, value in wanted.items()}
    found = {key: value for key, value in found.items() if value is not _SAME}
    return found or _SAME
