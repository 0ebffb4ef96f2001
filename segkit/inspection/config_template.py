"""A ready config for a data set: its differences from a shipped network, everything quoted."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.visualization.web_page import templates

from .classes import Classes
from .quoting import comment, literal
from .recipe import Recipe


@dataclass
class Content:
    """What a config says.

    name: of the data set; training writes to work_dirs/NAME. splits: role -> arguments of the data
    sets it consists of. channels: of a picture as loaded; unchanged: keep the stored values.
    statistics: (mean, std) in the order of the channels, where they are not those of photographs.
    comments: lines for its head. fold: ``number``, ``of``, ``group_by`` of cross-validation.
    """

    name: str
    root: str
    classes: Classes
    palette: Sequence[Sequence[int]]
    splits: Mapping[str, Sequence[Mapping]]
    recipe: Recipe
    channels: int = 3
    unchanged: bool = False
    statistics: tuple[list | None, list | None] | None = None
    comments: Sequence[str] = ()
    fold: Mapping[str, object] | None = None


def config_text(content: Content) -> str:
    """The text of the config; the shipped parts are found wherever segkit is installed."""
    recipe, changes = content.recipe, content.recipe.network.changes
    schedule = recipe.schedule or recipe.network.schedule
    parts = recipe.network.base, '_base_/default_runtime.py', f'_base_/schedules/{schedule}.py'
    mean, std = content.statistics or (None, None)
    # Hard ends are none that a name can make: comment() leaves one line of it.
    lines = [textwrap.wrap(comment(x), 96, break_long_words=False) for x in content.comments]
    environment = templates(Path(__file__).parent, keep_trailing_newline=True)
    environment.filters.update(literal=literal, tuple=tuple, more=_more)
    return environment.get_template('new_config.py.jinja').render(
        vars(content)
        | dict(
            bases=[f'segkit::{part}' for part in parts],
            comments=[line for some in lines for line in some],
            palette=[list(map(int, colour)) for colour in content.palette],
            ignored_colours=[list(c) for c in content.classes.ignored if isinstance(c, tuple)],
            splits={'test': (), **content.splits},
            load=", color_type='unchanged'" if content.unchanged else '',
            backbone=changes.get('backbone', {})
            | (dict(in_channels=content.channels) if content.channels != 3 else {}),
            changes={'decode_head': {}, 'auxiliary_head': {}, **changes},
            statistics=dict(mean=mean, std=std, bgr_to_rgb=False) if content.statistics else {},
        )
    )


def _more(values: Mapping) -> str:
    """Further keyword arguments of a call."""
    return ''.join(f', {key}={literal(value)}' for key, value in values.items())
