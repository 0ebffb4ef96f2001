"""Config files: which of them a name means, read by kind (Python, JSON, YAML), written as text.

Shipped configs lie in ``configs/`` of a checkout and in ``segkit/.shipped/configs`` of a wheel.
mmsegmentation 1.x writes the same words as 0.x in another order, and how many images a GPU gets:

    pspnet_r50-d8_512x1024_40k_cityscapes          0.x, and here
    pspnet_r50-d8_4xb2-40k_cityscapes-512x1024     1.x

Either finds the config.

Python configs go through mmengine's reader. JSON and YAML are data of whoever wrote them: parsed
here, without anything that a file could call, and let through the gate. A ``.py`` of the user's
own may take one up by ``_base_`` as it is, which is how to train from one. What cannot be read is
named.
"""

import ast
import difflib
import json
import re
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from pprint import pformat
from types import FrameType
from typing import Any
from unittest.mock import patch

import yaml
from mmengine.config import Config
from mmengine.fileio.handlers import YamlHandler, file_handlers

from segkit.compat import settings_of
from segkit.errors import ConfigError
from segkit.json_file import JsonError, read_json

PACKAGE = Path(__file__).resolve().parents[1]
HOMES = (PACKAGE.parent / 'configs', PACKAGE / '.shipped' / 'configs')
_BATCH = re.compile(r'\d+xb\d+|\d+x\d{1,2}')  # GPUs x images; a crop has three digits a side
ENDINGS = ('.py', '.json', '.yaml', '.yml')
_LARGEST = 10 << 20  # bytes; the configs of a whole run take some kB
_BRACKETS = 10_000
_WIDTH = 100


def shipped_home() -> Path:
    """The folder of the shipped configs."""
    return next((home for home in HOMES if (home / '_base_').is_dir()), HOMES[0])


def shipped_configs() -> dict[str, Path]:
    """Name without ``.py`` -> path of every config that can be run; ``_base_`` parts left out."""
    paths = shipped_home().rglob('*.py')
    return {path.stem: path for path in sorted(paths) if '_base_' not in path.parts}


@cache
def words(name: str) -> tuple[str, ...]:
    """What names of one config have in common in both generations."""
    found = re.split(r'[_-]+', name.lower())
    return tuple(sorted({'fp16': 'amp'}.get(w, w) for w in found if not _BATCH.fullmatch(w)))


def named(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is ``name``, or the same config by its name of the other
    generation; None where there is none, or more than one."""
    names = list(names)
    if name in names:
        return name
    found = [other for other in names if words(other) == words(name)]
    return found[0] if len(found) == 1 else None


def in_its_folder(path: Path) -> Path:
    """The file, or where there is none the config beside it that ``path`` means by the name of the
    other generation; ``path`` itself where there is none either."""
    if path.is_file() or not path.parent.is_dir():
        return path
    found = named(path.stem, (other.stem for other in path.parent.glob('*.py')))
    return path.with_name(f'{found}.py') if found else path


def find_config(name: str | Path) -> Path:
    """The path of a config given by path or by the name of a shipped one.

    A path as in mmsegmentation's commands, ``configs/pspnet/NAME.py``, is that shipped config
    where there is no such file.

    Raises:
        FileNotFoundError: neither exists; the sentence gives the nearest shipped names.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped, stem = shipped_configs(), path.name.removesuffix('.py')
    found = named(stem, shipped)
    folder = path.parts[:-1] if path.parts[:1] != ('configs',) else path.parts[1:-1]
    if found and folder in ((), (shipped[found].parent.name,)):
        return shipped[found]
    beside = in_its_folder(path)
    if beside.is_file():
        return beside
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.5)
    hint = f' Nearest shipped configs: {", ".join(near)}.' if near else ''
    raise FileNotFoundError(f"No config file '{name}', and no shipped config of that name.{hint}")


# -- read ------------------------------------------------------------------------------------------


def read_config_file(path: Path) -> Config:
    """The config in a file.

    Raises:
        ConfigError: it cannot be read, is no dict of settings, or asks for what data may not;
            names the file and the line or key. What a Python config itself raises is passed on.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f'{path}: not a config, whose name ends in {", ".join(ENDINGS)}')
    if path.suffix == '.py':
        return _read_python(path)
    from segkit.engine.untrusted_config import admit

    try:
        return Config(admit(parse(path), path), filename=str(path))
    except KeyError as error:  # names that Config keeps for itself
        raise ConfigError(f'{path}: {error.args[0]}') from None


def parse(path: Path) -> object:
    """What a JSON or YAML file holds, as plain data.

    Raises:
        ConfigError: it is too large, damaged, or holds a tag that would call something.
    """
    try:
        if path.suffix == '.json':
            return read_json(path, _LARGEST)
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f'{path}: {path.stat().st_size} bytes are too many for a config')
        text = path.read_text(encoding='utf-8-sig')
        if text.count('[') + text.count('{') > _BRACKETS:  # yaml takes their square in time
            raise RecursionError
        return yaml.safe_load(text)
    except (ConfigError, JsonError) as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError(f'{path}: is no text in UTF-8; save it as that') from None
    except RecursionError:
        raise ConfigError(f'{path}: its brackets are too many, or nested too deeply') from None
    except (ValueError, yaml.YAMLError) as error:
        said = ' '.join(str(error).split())[:200]
        raise ConfigError(f'{path}: cannot be read as yaml: {said}') from None


def read_base(path: Path) -> Mapping[str, object]:
    """A config as the ``_base_`` of a Python config takes it up: past the gate."""
    content = _read_python(path).to_dict() if path.suffix == '.py' else parse(path)
    if not isinstance(content, Mapping):
        raise ConfigError(f'{path}: is a {type(content).__name__}, not a dict of settings')
    return content


def read_dumped(path: Path) -> dict[str, object]:
    """The settings in a Python config that a run left behind, which is read and not run.

    Raises:
        ConfigError: anything but values and ``dict()`` stands in it.
    """
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
        settings = {}
        for line in tree.body:
            if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
                raise ValueError(f'line {line.lineno} is no plain setting')
            settings[line.targets[0].id] = _literal(line.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f'{path}: cannot be read as a config that a run left behind ({error}). Name a config '
            'of your own by its path to have it run'
        ) from None
    return settings


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        if len(node.args) == 1 and isinstance(node.args[0], ast.Dict) and not node.keywords:
            return _literal(node.args[0])  # names that are no words
        if not node.args and all(word.arg for word in node.keywords):
            return {word.arg: _literal(word.value) for word in node.keywords}
        raise ValueError(f'line {node.lineno}: {ast.unparse(node)[:60]} is no plain value')
    if isinstance(node, ast.Dict) and all(node.keys):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values) if k}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError(f'line {node.lineno}: {ast.unparse(node)[:60]} is no plain value')


def _read_python(path: Path) -> Config:
    try:
        with patch.dict(file_handlers, yaml=_SafeYaml(), yml=_SafeYaml()):  # of its _base_
            return Config.fromfile(path)
    except SyntaxError as error:  # mmengine does not say in which file of a chain
        said = f', line {error.lineno}: {error.msg}' if error.lineno else f': {error.msg}'
        raise ConfigError(f'{_reading(error, path)}{said}') from None
    except (UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        said = ' '.join(str(error).split())[:200]
        raise ConfigError(f'{_reading(error, path)}: cannot be read: {said}') from None
    except RecursionError as error:
        raise ConfigError(
            f'{path}: its _base_ files name one another in a circle, {_reading(error, path)} '
            'among them, or are nested too deeply; take one of these _base_ out'
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if not _of_the_reader(error):
            raise  # the config's own code
        why = error.args[0] if error.args else error
        raise ConfigError(f'{_reading(error, path)}: cannot be merged: {why}') from None


class _SafeYaml(YamlHandler):
    """mmengine's reader of YAML would run what a tag names."""

    def load_from_fileobj(self, file: object, **kwargs: object) -> object:
        return yaml.safe_load(file)


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _reading(error: BaseException, path: Path) -> Path:
    """The file of the chain that was being read when the error came."""
    names = [path, *(frame.f_locals.get('filename') for frame in _frames(error)[:200])]
    if isinstance(error, SyntaxError):
        names.append(error.filename)
    files = [name for name in names if isinstance(name, (str, Path)) and Path(name).is_file()]
    return Path(files[-1])


def _of_the_reader(error: BaseException) -> bool:
    """Whether mmengine raised it, over what the config says, and not the config's own code."""
    return '/mmengine/config/' in _frames(error)[-1].f_code.co_filename.replace('\\', '/')


# -- as text ---------------------------------------------------------------------------------------


def literal(value: object, width: int = _WIDTH) -> str:
    """``value`` as source text, without the two braces in which mmengine fills in names and
    variables of the environment before it parses a config: a folder may be called so."""
    return pformat(value, width=width, sort_dicts=False).replace('{{', '{\\x7b')


class PlainConfig(Config):
    """mmengine's ``Config`` with a ``pretty_text``, which ``dump`` writes, made in a millisecond.

    mmengine formats it with yapf, half a second for a usual config, several times at each start.
    """

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
