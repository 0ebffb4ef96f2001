"""One name, one meaning: what several commands take is the same argument in each."""

import argparse
from collections import defaultdict
from unittest import mock

import pytest
from helpers import found
from helpers.tool_parsers import actions, parsers

from segkit.engine.command_line import SHARED

# One name that means two things, kept because both were public before.
TWO_MEANINGS = {
    '--format': 'of a cache; of an exported file',
    '--images': 'pictures to compare on; the folder of pictures',
    '--names': 'of runs in a legend; of values in labels',
    '--tolerance': 'of logits; of percentage points',
    '--train': 'time training; pictures to make',
    '--title': 'of a chart; of a page',
    '--split': 'one to show; several to check',
    '--seed': 'of all of a training; of pictures',
}
# The same meaning with more, or another usual value.
MORE = {
    ('--batch-size', 'new_dataset'): 'of the config it writes',
    ('--batch-size', 'train'): 'of --data, as new_dataset has it',
    ('--resume', 'train'): 'a checkpoint may be named',
    ('config', 'train'): '--data may stand for it',
    ('--checkpoint', 'benchmark'): 'speed does not depend on it',
    ('--opacity', 'visualize_attention'): 'heat is a little denser',
    ('--shape', 'get_flops'): 'one side will do',
    ('checkpoint', 'publish_model'): 'no exported file, which has no weights to publish',
}
WORDS_DIFFER = {'--out', '--out-dir', '--overwrite', '--aug-test', '--probabilities', '--tile'}


@pytest.fixture(scope='module')
def takers():
    """Option or position -> {command: action}."""
    by_name = defaultdict(dict)
    held = parsers()
    assert len(held) == len(found.tools())
    for command, parser in held.items():
        for taker, action in actions(command, parser):
            for option in action.option_strings or [action.dest]:
                by_name[option][taker.rpartition('/')[2]] = action
    return by_name


def meaning(action):
    return type(action).__name__, action.type, action.nargs, action.metavar, action.default


def test_what_is_shared_is_one_argument(takers):
    compared = 0
    for option, settings in SHARED.items():
        given = takers[option]
        assert len(given) >= 2, option
        reference = argparse.ArgumentParser().add_argument(option, **settings)
        for taker, action in given.items():
            if (option, taker) in MORE or option in TWO_MEANINGS:
                continue
            assert meaning(action) == meaning(reference), (option, taker)
            assert action.help == reference.help, (option, taker)
            compared += 1
    assert compared >= 60


def test_an_option_of_two_commands_means_one_thing(takers):
    several = {name: given for name, given in takers.items() if name[0] == '-' and len(given) > 1}
    assert len(several) >= 30
    unlike = []
    for option, given in several.items():
        kept = {taker: a for taker, a in given.items() if (option, taker) not in MORE}
        kinds = {
            (type(a).__name__, a.nargs, getattr(a.type, '__name__', None)) for a in kept.values()
        }
        texts = {a.help for a in kept.values()}
        if option in WORDS_DIFFER:
            # A path is a Path or a text: the same to whoever types it.
            same = len({(kind, nargs) for kind, nargs, _ in kinds}) == 1
        else:
            same = len(kinds) == 1 and len(texts) == 1
        if not same and option not in TWO_MEANINGS:
            unlike.append((option, sorted(given)))
    assert unlike == []
    assert set(TWO_MEANINGS) <= set(several)


def test_config_comes_first_then_the_checkpoint(takers):
    """But for predict, which takes them by option too."""
    count = 0
    for command, parser in parsers().items():
        places = [a.dest for a in parser._actions if not a.option_strings]
        if 'config' in places:
            assert places[0] == 'config', command
            assert '--cfg-options' in {o for a in parser._actions for o in a.option_strings}, (
                command
            )
            if 'checkpoint' in places:
                assert places[1] == 'checkpoint', command
            count += 1
    assert count >= 13


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['c.py', 'w.pth', 'a', 'b'], ('c.py', 'w.pth', ['a', 'b'])),
        (['a', '--config', 'c.py', '--checkpoint', 'w.pth'], ('c.py', 'w.pth', ['a'])),
    ],
)
def test_predict_takes_both_forms(arguments, expected):
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location('predict_tool', found.tools()['predict'])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock.patch.object(sys, 'argv', ['predict.py', *arguments, '--out-dir', 'out']):
        args = module.parse_args()
    assert (args.config, args.checkpoint, args.images) == expected
    for wrong in (['a', 'b'], ['a', '--config', 'c.py']):
        with (
            mock.patch.object(sys, 'argv', ['predict.py', *wrong, '--out-dir', 'out']),
            pytest.raises(SystemExit),
        ):
            module.parse_args()
