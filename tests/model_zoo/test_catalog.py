"""The published rows as data, and what is measured beside them."""

from collections import Counter

import pytest

from segkit.errors import UserError
from segkit.model_zoo import Measurement, append, latest, read_measurements, read_rows, select
from segkit.model_zoo.catalog import Row, find
from segkit.model_zoo.verify import verdict_on
from segkit.weights.downloads import expected_hash

ROWS = read_rows()


def test_there_are_the_rows_of_eight_methods():
    assert Counter(row.method for row in ROWS) == {
        'PSANet': 16, 'PSPNet': 39, 'DANet': 16, 'ISANet': 16,
        'DeepLabV3': 41, 'DeepLabV3+': 42, 'UPerNet': 16, 'SegFormer': 13,
    }  # fmt: skip
    assert len(ROWS) == 199
    assert len({row.config for row in ROWS}) == 199


def test_every_row_names_the_licence_of_its_weights():
    licences = {row.licence for row in ROWS}
    assert licences == {'Apache-2.0', 'Apache-2.0 (encoder: NVIDIA, non-commercial)'}
    assert {r.method for r in ROWS if 'NVIDIA' in r.licence} == {'SegFormer'}


def test_a_catalogue_of_ones_own_need_not_name_licences(tmp_path):
    path = tmp_path / 'rows.csv'
    names = [name for name in Row.__dataclass_fields__ if name != 'licence']
    values = {**dict.fromkeys(names, '-'), 'config': 'mine', 'dataset': 'a'}
    path.write_text(f'{",".join(names)}\n{",".join(values[name] for name in names)}\n')
    (row,) = read_rows(path)
    assert (row.config, row.licence) == ('mine', '-')


def test_some_rows_as_the_pages_show_them():
    row = find(ROWS, 'psanet_r101-d8_512x512_160k_ade20k')
    assert (row.miou, row.miou_ms_flip, row.mem_gb) == ('43.74', '45.38', '-')
    row = find(ROWS, 'danet_r50-d8_512x1024_40k_cityscapes')
    assert (row.figure(), row.figure(ms_flip=True)) == (78.74, None)
    row = find(ROWS, 'isanet_r50-d8_512x1024_40k_cityscapes')
    assert (row.mem_gb, row.fps) == ('5.869', '2.91')


def test_every_checkpoint_names_its_hash_and_its_url_ends_in_it():
    for row in ROWS:
        assert len(expected_hash(row.checkpoint)) == 8
        assert row.url.endswith('/' + row.checkpoint)
        assert row.log.endswith('.log.json')
        assert row.checkpoint.startswith(row.config)


@pytest.mark.parametrize(
    ('filters', 'count'),
    [
        (dict(dataset='ade'), 35),
        (dict(dataset='voc', method='danet'), 4),
        (dict(backbone='R101', dataset='context'), 10),
        (dict(method='psa', backbone='r50', dataset='Cityscapes'), 4),
        (dict(dataset='kitti'), 0),
    ],
)
def test_rows_are_chosen_by_parts_of_names(filters, count):
    assert len(select(ROWS, **filters)) == count


@pytest.mark.parametrize('ending', ['', '.py'])
def test_a_row_is_found_by_config_file_or_checkpoint(ending):
    row = ROWS[3]

    assert find(ROWS, f'configs/psanet/{row.config}{ending or ".py"}') == row
    assert find(ROWS, row.config + ending) == row
    assert find(ROWS, row.checkpoint) == row


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(UserError, match="'psanet_r50_ade20k'; the nearest is psanet_r50-d8"):
        find(ROWS, 'psanet_r50_ade20k')


def test_a_catalogue_without_columns_is_refused(tmp_path):
    path = tmp_path / 'rows.csv'
    path.write_text('dataset,method\na,b\n')

    with pytest.raises(ValueError, match=r'rows\.csv: the columns backbone, crop'):
        read_rows(path)


def measurement(**values) -> Measurement:
    base = dict.fromkeys(Measurement.__dataclass_fields__, 'x')
    return Measurement(**{**base, **values})


def test_measurements_are_appended_and_the_newest_counts(tmp_path):
    path = tmp_path / 'measured.csv'
    for protocol, miou in (('single scale', '1.00'), ('ms+flip', '2.00'), ('single scale', '3.00')):
        text = 'a, "quoted" value'
        append(measurement(config='c', protocol=protocol, miou=miou, environment=text), path)

    found = read_measurements(path)

    assert [m.miou for m in found] == ['1.00', '2.00', '3.00']
    assert found[0].environment == 'a, "quoted" value'
    assert latest(found, 'c', 'single scale').miou == '3.00'
    assert latest(found, 'other', 'single scale') is None
    assert read_measurements(tmp_path / 'none.csv') == []


@pytest.mark.parametrize(
    ('miou', 'published', 'verdict'),
    [
        (77.63, 77.63, 'agrees'),
        (77.73, 77.63, 'agrees'),  # 0.1 apart, which binary floats call 0.10000000000001
        (77.53, 77.63, 'agrees'),
        (77.74, 77.63, 'differs'),
        (77.52, 77.63, 'differs'),
        (77.5, None, 'no published figure'),
    ],
)
def test_the_verdict_with_a_tolerance_of_a_tenth(miou, published, verdict):
    assert verdict_on(miou, published, 0.1) == verdict
