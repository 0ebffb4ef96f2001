"""What stored values and colours mean, and how they become the indices of their names."""

import itertools

import numpy as np
import pytest
from PIL import Image

from segkit.datasets.label_maps import label_table
from segkit.inspection.classes import Wish, classes_table, even_greys, name_classes, words_of
from segkit.inspection.labels import Stored, gather, look
from segkit.visualization.class_tables import ClassTable, Entry, parse_given


def stored(*values, palette=None) -> Stored:
    return Stored(values=dict.fromkeys(values, 10), palette=palette or {})


def table(*entries) -> ClassTable:
    return ClassTable('names.txt', tuple(Entry(*entry) for entry in entries))


def indices(classes, *values) -> list[int]:
    """What a data set with these settings makes of stored values."""
    lut = label_table(
        classes.settings.get('reduce_zero_label', False), classes.settings.get('label_map')
    )
    return [int(v if lut is None else lut[v]) for v in values]


ABC = table(('a',), ('b',), ('c',))
CASES = {
    # stored values, table, ignore, zero -> names, index of each stored value
    'dense': ([0, 1, 2], None, '', None, 'class_0 class_1 class_2', [0, 1, 2]),
    'two': ([0, 1], None, '', None, 'background foreground', [0, 1]),
    'mask': ([0, 255], None, '', None, 'background foreground', [0, 1]),
    'ignored': ([0, 1, 2, 255], None, '', None, 'class_0 class_1 class_2', [0, 1, 2, 255]),
    'ignored as a class': ([0, 1, 255], None, 'none', None, 'value_0 value_1 value_255', [0, 1, 2]),
    'from one': ([1, 2, 3], None, '', None, 'class_1 class_2 class_3', [0, 1, 2]),
    'from one, 255': ([1, 2, 255], None, '', None, 'class_1 class_2', [0, 1, 255]),
    'zero ignored': ([0, 1, 2], None, '', 'ignore', 'class_1 class_2', [255, 0, 1]),
    'greys': ([0, 85, 170, 255], None, '', None, 'value_0 value_85 value_170 value_255',
              [0, 1, 2, 3]),
    'three greys': ([0, 127, 255], None, '', None, 'value_0 value_127 value_255', [0, 1, 2]),
    'sparse': ([0, 7, 50], None, '', None, 'value_0 value_7 value_50', [0, 1, 2]),
    'last ignored': ([0, 1, 2, 11], ABC, '11', None, 'a b c', [0, 1, 2, 255]),
    'named ignored': ([0, 1, 2], ABC, 'c', None, 'a b', [0, 1, 255]),
    'middle ignored': ([0, 1, 2], ABC, 'b', None, 'a c', [0, 255, 1]),
    'gap': ([0, 1, 3], None, '', None, 'class_0 class_1 class_2 class_3', [0, 1, 3]),
    'names from one': ([1, 2, 3], ABC, '', None, 'a b c', [0, 1, 2]),
    'names from one, zero ignored': ([0, 1, 2, 3], ABC, '', 'ignore', 'a b c', [255, 0, 1, 2]),
    'names from one, zero a class': ([0, 1, 2, 3], ABC, '', 'class', 'background a b c',
                                     [0, 1, 2, 3]),
    'by value': ([3, 9], table(('x', 9), ('y', 3)), '', None, 'y x', [0, 1]),
    'one unseen': ([3, 9], table(('x', 9), ('y', 3), ('z', 5)), '', None, 'y z x', [0, 2]),
    '255 named': ([0, 255], table(('x', 0), ('y', 255)), '', None, 'x y', [0, 1]),
    'in turn': ([2, 40, 77], ABC, '', None, 'a b c', [0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_values_become_the_index_of_their_name(case):
    values, names, ignore, zero, want, mapped = CASES[case]
    classes = name_classes(stored(*values), names, Wish(words_of(ignore), zero))
    assert ' '.join(classes.names) == want
    assert indices(classes, *values) == mapped
    assert len(classes_table(classes, stored(*values)).splitlines()) >= len(classes.names) + 4


def test_an_unseen_zero_is_never_taken_for_the_first_class():
    for case in ('from one', 'names from one', 'by value'):
        values, names, ignore, zero, *_ = CASES[case]
        classes = name_classes(stored(*values), names, Wish(words_of(ignore), zero))
        assert indices(classes, 0) == [255], case


@pytest.mark.parametrize(('values', 'names', 'wish', 'words'), [
    ([0, 1, 2, 3], ABC, Wish(), r'3 classes, but the labels hold 0 too.*--zero class.*--zero ign'),
    ([0, 4], table(('x', 4)), Wish(), r'names 1 classes, but the labels hold 0 too'),
    ([1, 9], table(('x', 1)), Wish(), r'hold 9, which names.txt does not name.*--ignore 9'),
    ([0, 1, 2, 3, 9], ABC, Wish(), r'names 3 classes, but the labels hold 5'),
    ([0, 1], None, Wish(['void']), r'--ignore void: no class has this name; there are background'),
    ([255], None, Wish(), 'every label pixel is ignored'),
    ([0, 1], ABC, Wish(['a', 'b', 'c']), 'every class is ignored'),
])  # fmt: skip
def test_what_is_open_is_asked(values, names, wish, words):
    with pytest.raises(ValueError, match=words):
        name_classes(stored(*values), names, wish)


def test_decisions_about_zero_and_255_are_said():
    said = ' '.join(name_classes(stored(0, 1, 255), None, Wish()).notes)
    assert "0 (33.3 % of the pixels) is trained as a class, 'background'" in said
    assert '--ignore none makes it a class' in said
    assert not name_classes(stored(0, 1, 2), ABC, Wish()).notes  # 'a' is 0 by its name
    assert not name_classes(stored(0, 1), None, Wish(zero='class')).notes
    unnamed = name_classes(stored(0, 1), table(('unlabeled', 0), ('cat', 1)), Wish())
    assert '--zero ignore' in unnamed.notes[0]


def test_greys_are_even_whatever_their_number():
    for count in range(2, 30):
        steps = np.linspace(0, 255, count)
        assert even_greys(map(int, steps))
        assert even_greys(map(int, steps.round()))
    for values in ((0,), (255,), (0, 1, 255), (0, 128), (1, 255), (0, 60, 255)):
        assert not even_greys(values)


RED, GREEN, BLACK = (250, 50, 83), (51, 221, 255), (0, 0, 0)


def painted(*colours) -> Stored:
    return Stored(colours=dict.fromkeys(colours, 5))


def test_colours_have_the_names_a_table_gives_them_in_any_order():
    for order in itertools.permutations([('bg', None, BLACK), ('cat', None, RED),
                                         ('dog', None, GREEN)]):  # fmt: skip
        classes = name_classes(painted(RED, BLACK, GREEN), table(*order), Wish(zero='class'))
        assert dict(zip(classes.names, classes.stored)) == {'bg': BLACK, 'cat': RED, 'dog': GREEN}
        assert classes.palette == [list(colour) for colour in classes.stored]
        assert classes.settings == {'label_format': 'rgb'}


def test_colours_without_a_table_are_named_after_themselves_and_never_by_a_list():
    classes = name_classes(painted(RED, GREEN), None, Wish())
    assert classes.names == ['colour_33ddff', 'colour_fa3253']
    assert "--classes 'NAME=#rrggbb" in classes.notes[0]
    with pytest.raises(ValueError, match=r"--classes 'NAME=#33ddff,NAME=#fa3253'"):
        name_classes(painted(RED, GREEN), parse_given('cat,dog'), Wish())
    given = name_classes(painted(RED, GREEN), parse_given('cat=#fa3253,dog=#33ddff'), Wish())
    assert dict(zip(given.names, given.stored)) == {'cat': RED, 'dog': GREEN}
    greys = name_classes(painted(BLACK, (255, 255, 255)), None, Wish())
    assert greys.names == ['background', 'foreground']


def test_colours_that_do_not_count():
    named = table(('cat', None, RED), ('void', None, BLACK))
    for wish in (Wish(['void']), Wish(['#000000']), Wish(zero='ignore')):
        classes = name_classes(painted(RED, BLACK), named, wish)
        assert (classes.names, classes.ignored) == (['cat'], [BLACK])
    with pytest.raises(ValueError, match=r"#33ddff \(51, 221, 255\).*--ignore '#33ddff'"):
        name_classes(painted(RED, GREEN), named, Wish())
    with pytest.raises(ValueError, match='give one as'):
        name_classes(painted(RED), None, Wish(['7']))
    with pytest.raises(ValueError, match='six digits'):
        words_of('#12')


def test_palette_files_give_values_and_their_colours(tmp_path):
    index = np.array([[0, 2], [2, 5]], np.uint8)
    image = Image.fromarray(index)
    image.putpalette([*BLACK, 1, 1, 1, *RED, 3, 3, 3, 4, 4, 4, *GREEN])
    image.save(tmp_path / 'l.png')
    Image.new('RGB', (2, 2)).save(tmp_path / 'i.png')
    pair = look((str(tmp_path / 'i.png'), str(tmp_path / 'l.png')))
    assert (pair.values, pair.palette) == ({0: 1, 2: 2, 5: 1}, {0: BLACK, 2: RED, 5: GREEN})
    found = gather([pair])
    named = table(('bg', None, BLACK), ('dog', None, GREEN), ('cat', None, RED))
    classes = name_classes(found, named, Wish())
    assert dict(zip(classes.names, classes.stored)) == {'bg': 0, 'cat': 2, 'dog': 5}
    assert classes.palette == [list(BLACK), list(RED), list(GREEN)]


@pytest.mark.parametrize('ending', ['jpg', 'webp'])
def test_lossy_labels_are_refused_by_name(tmp_path, ending):
    Image.new('RGB', (8, 8)).save(tmp_path / 'i.png')
    Image.new('L', (8, 8)).save(tmp_path / f'l.{ending}')
    with pytest.raises(ValueError, match=rf'l.{ending}: the label is a JPEG or WebP'):
        look((str(tmp_path / 'i.png'), str(tmp_path / f'l.{ending}')))


def test_photographs_and_two_kinds_of_labels_are_refused():
    many = {(i, j, 0): 1 for i in range(16) for j in range(16)}
    with pytest.raises(ValueError, match='256 colours or more'):
        gather([type('P', (), dict(values={}, colours=many, palette={}))()])
    pairs = [type('P', (), dict(values={1: 1}, colours={}, palette={}))(),
             type('P', (), dict(values={}, colours={RED: 1}, palette={}))()]  # fmt: skip
    with pytest.raises(ValueError, match='some labels are colour images and others hold indices'):
        gather(pairs)
