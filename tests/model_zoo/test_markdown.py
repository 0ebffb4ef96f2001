"""model_zoo.md is what its data say."""

import re
from pathlib import Path

from segkit.model_zoo import Measurement, read_measurements, read_rows
from segkit.model_zoo.markdown import COLUMNS, config_path, zoo_page

ROOT = Path(__file__).resolve().parents[2]
ROWS = read_rows()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip('|').split('|')]


def test_the_page_is_up_to_date():
    page = (ROOT / 'model_zoo.md').read_text(encoding='utf-8')

    assert page == zoo_page(ROWS, read_measurements()), 'stale: run python tools/model_zoo.py table'


def test_every_row_is_on_the_page_with_its_links():
    page = zoo_page(ROWS, [])
    lines = [cells(line) for line in page.splitlines() if '[config]' in line]

    assert len(lines) == len(ROWS) == 199
    for line in lines:
        assert len(line) == len(COLUMNS)
        assert line[8:10] == ['-', '-']
    for row in ROWS:
        (line,) = [line for line in lines if row.url in line[-1]]
        assert line[:8] == [
            row.method, row.backbone, row.crop, row.schedule, row.mem_gb, row.fps, row.miou,
            row.miou_ms_flip,
        ]  # fmt: skip
        assert row.log in line[-1]


def test_there_is_a_section_for_each_dataset_and_method():
    page = zoo_page(ROWS, [])

    assert re.findall(r'^## (.*)', page, re.M)[1:] == list(dict.fromkeys(r.dataset for r in ROWS))
    methods = {(row.method, row.dataset) for row in ROWS}
    sections = re.findall(r'^### (\S+) on (.*)', page, re.M)
    assert len(sections) == len(set(sections)) == len(methods) == 40
    assert set(sections) == methods


def test_the_links_to_configs_lead_somewhere():
    for row in ROWS:
        assert (ROOT / config_path(row)).is_file()


def test_a_measurement_appears_beside_the_published_figure():
    base = dict.fromkeys(Measurement.__dataclass_fields__, 'x')
    config = 'psanet_r50-d8_512x1024_40k_cityscapes'
    measured = [
        Measurement(**{**base, 'config': config, 'protocol': 'single scale', 'miou': '77.61'}),
        Measurement(**{**base, 'config': config, 'protocol': 'ms+flip', 'miou': '79.05'}),
    ]

    (line,) = [
        cells(line) for line in zoo_page(ROWS, measured).splitlines() if f'{config}.py' in line
    ]

    assert line[6:10] == ['77.63', '79.04', '77.61', '79.05']
