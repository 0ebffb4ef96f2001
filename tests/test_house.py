"""How the package is built: no circles of imports, nothing too long, no name with two meanings."""

import ast
import graphlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from helpers import found

MOST_LINES, LONGEST_FUNCTION = 450, 60
# Words that say little, each of which one module or function of the whole package may be called.
WORDS = ('aug_test', 'batch', 'fast', 'logits', 'page', 'pictures', 'samplers', 'text', 'utils')

TREES = {name: ast.parse(path.read_text()) for name, path in found.modules().items()}
FUNCTIONS = [
    (f'{name}:{node.name}', node)
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def head(nodes: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, but for those that only a type checker sees;
    an import inside a function waits until it is called."""
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
            continue
        if isinstance(node, ast.If | ast.Try):
            handlers = [stmt for h in getattr(node, 'handlers', []) for stmt in h.body]
            yield from head([*node.body, *node.orelse, *handlers])
        else:
            yield node


def imported(name: str, nodes: Iterable[ast.stmt], path: Path) -> set[str]:
    """Modules of ours that the statements import; a package for what is no module of its own."""
    names = []
    package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = '.'.join([*above, *([node.module] if node.module else [])])
            whole = [f'{start}.{alias.name}' for alias in node.names]
            names += [full if full in TREES else start for full in whole]
    return {found for found in names if found in TREES} - {name}


def graph() -> dict[str, set[str]]:
    paths = found.modules()
    return {name: imported(name, head(tree.body), paths[name]) for name, tree in TREES.items()}


def test_imports_go_round_in_no_circle():
    edges = graph()
    assert sum(map(len, edges.values())) > 600
    assert 'segkit.models.layers' in edges['segkit.models.decode_heads.psa_head']
    assert 'segkit.models.inference.logits' in edges['segkit.models.segmentors.encoder_decoder']
    order = list(graphlib.TopologicalSorter(edges).static_order())  # raises CycleError, naming it
    assert set(order) == set(TREES)


def test_a_circle_would_be_found():
    edges = graph()
    edges['segkit.errors'].add('segkit.models.segmentors.encoder_decoder')
    with pytest.raises(graphlib.CycleError, match=r'segkit\.errors'):
        graphlib.TopologicalSorter(edges).prepare()


def test_files_and_functions_are_short():
    lengths = {name: path.read_text().count('\n') for name, path in found.modules().items()}
    assert max(lengths.values()) > 350
    assert len(FUNCTIONS) > 1500
    long = [name for name, length in lengths.items() if length > MOST_LINES]
    long += [
        f'{name} ({node.end_lineno - node.lineno + 1} lines)'
        for name, node in FUNCTIONS
        if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


def test_a_word_that_says_little_names_one_thing():
    names = [name.rpartition('.')[2] for name in TREES]
    names += [n.name for tree in TREES.values() for n in tree.body if hasattr(n, 'name')]
    counts = Counter(names)
    assert len(counts) > 1000
    assert {word for word in WORDS if counts[word]}, 'the words are looked for among no names'
    assert not {word for word in WORDS if counts[word] > 1}
