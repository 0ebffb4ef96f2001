"""What configs resolve to, models are named and networks compute is what it was.

``record.py`` says how a snapshot is made anew, and when that is right.
"""

from collections import defaultdict

import numpy as np
import pytest
import torch
from contract import record
from contract.networks import CLASSES, HEADS, MODES, predicted, trained

CURE = (
    '\nIf this is wanted, name it in CHANGELOG.md and run  python tests/contract/record.py {}'
)  # fmt: skip
SHOWN = 40


def flat(value: object, prefix: str = '') -> dict[str, object]:
    """Nested dicts and lists as 'a.b.0' -> value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    answer: dict[str, object] = {}
    for key, part in parts:
        name = f'{prefix}.{key}' if prefix else str(key)
        answer.update(flat(part, name) if isinstance(part, dict | list) and part else {name: part})
    return answer


def changes(before: dict, after: dict) -> list[str]:
    """'key: old -> new' with the names of those it holds for, each change said once."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*before, *after}):
        old, new = flat(before.get(name, {})), flat(after.get(name, {}))
        for key in sorted({*old, *new}):
            a, b = old.get(key, '(not there)'), new.get(key, '(not there)')
            if a != b or type(a) is not type(b):
                found[f'{key}: {a!r} -> {b!r}'].append(name)
    return [f'{change}   in {len(names)}: {names[0]}' for change, names in found.items()]


def check(name: str, differences: list[str]) -> None:
    more = [f'... and {len(differences) - SHOWN} more'] * (len(differences) > SHOWN)
    assert not differences, '\n'.join([*differences[:SHOWN], *more]) + CURE.format(name)


def test_every_shipped_config_resolves_to_what_it_did():
    before = record.read('configs')
    assert len(before) >= 191
    check('configs', changes(before, record.configs()))


def test_every_model_has_the_keys_and_shapes_it_had():
    before = record.read('keys')
    assert len(before) >= 191
    assert min(map(len, before.values())) > 100
    check('keys', changes(before, record.keys()))


def test_no_name_went_from_the_bases():
    before, after = record.read('bases'), record.bases()
    assert len(before) >= 29
    gone = [
        f'configs/_base_/{base}.py: {name} is gone'
        for base, names in before.items()
        for name in names
        if name not in after.get(base, [])
    ]
    check('bases', gone)


def arguments_gone(tool: str, before: dict, after: dict) -> list[str]:
    """What a command line could say and cannot any longer."""
    gone = []
    for option, choices in before['options'].items():
        if option not in after['options']:
            gone.append(f'{tool}: {option} is gone')
        elif left := after['options'][option]:
            gone += [f'{tool}: {option} {c} is gone' for c in choices if c not in left]
    for number, (name, choices) in enumerate(before['positions']):
        now = after['positions'][number : number + 1]
        if not now or now[0][0] != name:
            gone.append(f'{tool}: its argument {number + 1}, {name}, is {now or "gone"}')
        elif now[0][1]:
            gone += [f'{tool}: {name} {c} is gone' for c in choices if c not in now[0][1]]
    for command, inner in before['commands'].items():
        if command in after['commands']:
            gone += arguments_gone(f'{tool} {command}', inner, after['commands'][command])
        else:
            gone.append(f'{tool} {command} is gone')
    return gone


def test_no_tool_and_no_option_went():
    before, after = record.read('options'), record.options()
    assert len(before) >= 22
    assert sum(len(tool['options']) for tool in before.values()) >= 190
    gone = [f'tools/{tool}.py is gone' for tool in before if tool not in after]
    for tool in before.keys() & after.keys():
        gone += arguments_gone(tool, before[tool], after[tool])
    check('options', sorted(gone))


def test_what_went_from_a_command_line_is_seen():
    inner = dict(options={'--x': []}, positions=[], commands={})
    before = dict(
        options={'--a': [], '--b': ['p', 'q'], '--free': ['p']},
        positions=[['config', []], ['out', []]],
        commands=dict(list=inner, verify=inner),
    )
    after = dict(
        options={'--b': ['q', 'r'], '--c': [], '--free': []},
        positions=[['config', []]],
        commands=dict(list=dict(inner, options={})),
    )
    assert arguments_gone('t', before, before) == []
    assert arguments_gone('t', before, after) == [
        't: --a is gone',
        't: --b p is gone',
        't: its argument 2, out, is gone',
        't list: --x is gone',
        't verify is gone',
    ]


RELATIVE = 1e-5
RECORDED = record.read('numbers')


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def apart(what: str, got: object, wanted: object, scale: float | None = None) -> list[str]:
    """A sentence if ``got`` is off by more than 1e-5 of ``scale``, or of the largest value."""
    one, other = np.asarray(got, float), np.asarray(wanted, float)
    if one.shape != other.shape:
        return [f'{what}: shape {one.shape}, was {other.shape}']
    off = float(np.abs(one - other).max())
    scale = scale or float(np.abs(other).max())
    return (
        [] if off <= RELATIVE * scale else [f'{what}: off by {off:.1e} at a scale of {scale:.1e}']
    )


def test_numbers_of_every_head_are_recorded():
    assert set(RECORDED) == set(HEADS)
    assert len(HEADS) >= 9
    for numbers in RECORDED.values():
        classes = {
            c for mode in MODES for row in numbers['predicted'][mode]['classes'] for c in row
        }
        assert len(classes) >= 3
        assert classes <= set(map(str, range(CLASSES)))


@pytest.mark.parametrize('head', HEADS)
def test_losses_and_gradients_are_what_they_were(head):
    before, after = RECORDED[head], trained(head)
    assert set(before['losses']) == set(after['losses'])
    assert set(before['norms']) == set(after['norms'])
    found = []
    for name, loss in before['losses'].items():
        found += apart(name, after['losses'][name], loss)
    largest = max(before['norms'].values())
    for name, norm in before['norms'].items():
        found += apart(f'gradient of {name}', after['norms'][name], norm, largest)
    for name, values in before['values'].items():
        found += apart(f'gradient of {name}', after['values'][name], values, largest)
    check('numbers', found)


@pytest.mark.parametrize('head', HEADS)
def test_predictions_are_what_they_were(head):
    before, after = RECORDED[head]['predicted'], predicted(head)
    assert set(before) == set(after) == set(MODES)
    found = []
    for mode, wanted in before.items():
        got = after[mode]
        found += apart(f'{mode}: scores', got['norms'], wanted['norms'])
        found += apart(f'{mode}: scores', got['values'], wanted['values'])
        other = ''.join(got['classes']), ''.join(wanted['classes'])
        different = sum(a != b for a, b in zip(*other, strict=True))
        if different > len(other[0]) / 1000:  # a tie may fall otherwise on another machine
            found.append(f'{mode}: {different} pixels of other classes')
    check('numbers', found)
