"""Names of classes from the files that exporters write."""

import json

import pytest

from segkit.visualization.class_tables import (
    Entry,
    colour_of,
    find_table,
    parse_given,
    read_lines,
    read_table,
)

RED, GREEN, BLACK = (250, 50, 83), (51, 221, 255), (0, 0, 0)
COLOURED = (Entry('background', None, BLACK), Entry('cat', None, RED))
VALUED = (Entry('background', 0), Entry('cat', 7))
PLAIN = (Entry('background'), Entry('cat'))
FILES = {
    'labelmap.txt': (
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83:head:\n', COLOURED),
    '_classes.csv': ('Pixel Value, Class\n0, background\n7, cat\n', VALUED),
    'class_dict.csv': ('name,r,g,b\nbackground,0,0,0\ncat,250,50,83\n', COLOURED),
    'classes.csv': ('label;color\nbackground;#000000\ncat;#fa3253\n', COLOURED),
    'class_names.txt': ('background\ncat\n', PLAIN),
    'classes.txt': ('background 0 0 0\ncat 250 50 83\n', COLOURED),
    'label_colors.txt': ('0 0 0\tbackground\n250 50 83\tcat\n', COLOURED),
    'labels.txt': ('0: background\n7: cat\n', VALUED),
    'names.txt': ('background=0\ncat=7\n', VALUED),
    'obj.names': ('background\r\n\r\ncat\r\n', PLAIN),
    'labels.csv': ('background,0\ncat,7\n', VALUED),
    'classes.json': (json.dumps(['background', 'cat']), PLAIN),
    'class_names.json': (json.dumps({'0': 'background', '7': 'cat'}), VALUED),
    'labels.json': (json.dumps({'background': 0, 'cat': 7}), VALUED),
    'label_map.json': (json.dumps({'background': [0, 0, 0], 'cat': list(RED)}), COLOURED),
    'meta.json': (json.dumps({'classes': [
        {'title': 'background', 'color': '#000000'},
        {'title': 'cat', 'color': '#FA3253'}]}), COLOURED),
    'categories.json': (json.dumps({'images': [], 'categories': [
        {'id': 0, 'name': 'background'}, {'id': 7, 'name': 'cat', 'supercategory': 'x'}]}), VALUED),
}  # fmt: skip


@pytest.mark.parametrize('name', FILES)
def test_a_file_gives_its_classes(tmp_path, name):
    text, entries = FILES[name]
    for code in ('utf-8', 'utf-8-sig', 'utf-16')[: 1 if name.endswith('.json') else 3]:
        (tmp_path / name).write_bytes(text.encode(code))
        table, notes = find_table(tmp_path, [])
        assert (table.entries, table.source, notes) == (entries, name, [])


def test_lines_are_read_in_the_encodings_there_are(tmp_path):
    for code in ('utf-8', 'utf-8-sig', 'utf-16', 'latin-1'):
        (tmp_path / 'n.txt').write_bytes('a\r\n\r\n ü \nb'.encode(code))
        assert read_lines(tmp_path / 'n.txt') == ['a', 'ü', 'b']


def test_names_with_spaces_and_digits_stay_whole(tmp_path):
    (tmp_path / 'n.txt').write_text('traffic light\nRoad 2\n4 wheeler\n')
    assert read_table(tmp_path / 'n.txt').names == ['traffic light', 'Road 2', '4 wheeler']
    (tmp_path / 'n.txt').write_text('traffic light 1 2 3\nRoad 2 4 5 6\n')
    entries = read_table(tmp_path / 'n.txt').entries
    assert entries == (Entry('traffic light', None, (1, 2, 3)), Entry('Road 2', None, (4, 5, 6)))


def test_what_is_no_list_of_names_is_said(tmp_path):
    (tmp_path / 'classes.json').write_text('{"a": {"b": 1}}')
    (tmp_path / 'labels.txt').write_text('a\nb\na\n')
    table, notes = find_table(tmp_path, [])
    assert table is None
    assert notes == [
        'labels.txt: the name a stands there for two classes. It is not used.',
        'classes.json: no names of classes are read from it. It is not used.',
    ]


def test_splits_that_name_other_classes_are_refused(tmp_path):
    for split, names in (('train', 'ab'), ('val', 'ba')):
        (tmp_path / split).mkdir()
        lines = ['Pixel Value, Class', *(f'{i}, {name}' for i, name in enumerate(names))]
        (tmp_path / split / '_classes.csv').write_text('\n'.join(lines))
    folders = [tmp_path / 'train', tmp_path / 'val']
    with pytest.raises(ValueError, match=r'val/_classes.csv and train/_classes.csv name other'):
        find_table(tmp_path, folders)
    (tmp_path / 'val/_classes.csv').write_bytes((tmp_path / 'train/_classes.csv').read_bytes())
    assert find_table(tmp_path, folders)[0].names == ['a', 'b']


def test_classes_on_the_command_line():
    assert parse_given('a, b c').entries == (Entry('a'), Entry('b c'))
    assert parse_given('a=7,b=#fa3253').entries == (Entry('a', 7), Entry('b', None, RED))
    with pytest.raises(ValueError, match='give each class one name'):
        parse_given('a,a')
    assert colour_of('(250, 50,83)') == colour_of('#fa3253') == colour_of([250, 50, 83]) == RED
    for text in ('#fff', '1,2', '1,2,256', 'red', [1, 2], '-1,2,3'):
        assert colour_of(text) is None
    assert len(FILES) >= 15
