"""The parser of every command, as it stands when the command would read its arguments."""

import argparse
from unittest import mock

from helpers import found
from helpers.run_tool import run_tool


class Parsed(BaseException):
    """Ends a command there."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Name of the command -> its parser; all of them."""
    held: dict[str, argparse.ArgumentParser] = {}
    for name in found.tools():

        def keep(self, *args, _name=name, **kwargs):
            held[_name] = self
            raise Parsed

        with mock.patch.object(argparse.ArgumentParser, 'parse_args', keep):
            try:
                run_tool(name)
            except Parsed:
                continue
    assert set(held) == set(found.tools())
    return held


def actions(name, parser):
    """(command, action) of a parser and of its sub-commands, hidden ones left out."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, sub in action.choices.items():
                yield from actions(f'{name} {inner}', sub)
        elif action.help != argparse.SUPPRESS and action.dest != 'help':
            yield name, action
