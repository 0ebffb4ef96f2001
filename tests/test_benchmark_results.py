"""Speed is stated from committed results alone."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_speed_tables_are_those_of_the_results():
    summary = runpy.run_path(str(ROOT / 'tools/benchmarks/summary.py'))
    assert len(summary['PAGES']) == 3
    for path, root in summary['PAGES'].items():
        page = path.read_text()
        assert any(summary[mark] in page for mark in ('WHOLE', 'BEST', 'GPU')), path
        assert summary['with_table'](page, root) == page, 'run: python tools/benchmarks/summary.py'
    assert (ROOT / 'docs/speed.md').read_text().count('/tools/benchmarks/results/') >= 15


def test_rows_of_a_gpu_come_from_its_results(tmp_path):
    summary = runpy.run_path(str(ROOT / 'tools/benchmarks/summary.py'))
    for name in summary['RESULTS'].glob('*.csv'):
        (tmp_path / name.name).write_text(name.read_text())
    (tmp_path / 'gpu.csv').write_text(
        'part,case,result,ratio,of_copy,fps,mib,other_form_mib,machine\n'
        'operations,mask forward collect 2x49x49,ok,3.5,0.81,,,,Card X\n'
        'operations,mask backward collect 2x49x49,below,2.5,0.62,,,,Card X\n'
        'networks,psanet inference 512x1024 bf16,ok,1.9,,40,30,60,Card X\n'
        'networks,psanet inference 769x769 float32,ok,1.4,,22.5,45,60,Card X\n'
        'networks,psanet training step 769x769,not run,,,,,,Card X\n'
    )
    summary['table'].__globals__['RESULTS'] = tmp_path
    found = summary['gpu_table']()
    assert found.startswith('Measured on Card X; 3 rows ok, 1 rows below, 1 rows not run.')
    assert '| mask kernels | 2.50 |  | 0.62 |  |' in found
    assert '| psanet, inference | 1.40 | 0.75 |  | 22.5 to 40.0 |' in found
    assert 'training step' not in found
    whole = summary['table']()
    assert (
        '| [psanet, inference, Card X](tools/benchmarks/results/gpu.csv) | 1.40 | 0.75 |' in whole
    )
