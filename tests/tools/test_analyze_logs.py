from helpers.run_folders import write_run
from helpers.run_tool import run_tool


def test_table_and_picture_of_two_runs(tmp_path):
    a, b = write_run(tmp_path / 'a'), write_run(tmp_path / 'b', gain=5)
    status, text = run_tool('analyze_logs', a, b, '--out', tmp_path / 'c.png', '--smooth')
    assert status == 0, text
    assert '| b   | mIoU   |      3 |   65 |    25 |   65 |' in text
    assert (tmp_path / 'c.png').stat().st_size > 10_000


def test_unknown_scalar_lists_those_there_are(tmp_path):
    status, text = run_tool('analyze_logs', write_run(tmp_path / 'a'), '--keys', 'los')
    assert status == 1
    assert (
        '--keys los: in no run. There are: aAcc, class_IoU/CLASS, loss, lr, mIoU, memory.' in text
    )


def test_a_folder_of_tests_alone_says_so_and_what_it_holds(tmp_path):
    file = write_run(tmp_path / 'a') / '20260101_000000/vis_data/scalars.json'
    file.write_text('{"class_IoU/sky": 9.0, "class_Acc/sky": 8.0, "step": 0}\n')
    status, text = run_tool('analyze_logs', tmp_path / 'a')
    assert status == 1
    assert 'a: nothing of a training (loss or mIoU) was logged there' in text
    assert 'There are: class_Acc/CLASS, class_IoU/CLASS.' in text


def test_a_training_without_validation_shows_its_loss(tmp_path):
    file = write_run(tmp_path / 'a') / '20260101_000000/vis_data/scalars.json'
    file.write_text('{"loss": 3.0, "step": 1}\n{"loss": 2.0, "step": 2}\n')
    status, text = run_tool('analyze_logs', tmp_path / 'a')
    assert status == 0, text
    assert '| a   | loss   |      2 |    2 |     2 |    3 |' in text


def test_folder_without_a_run(tmp_path):
    status, text = run_tool('analyze_logs', tmp_path)
    assert status == 1
    assert f'{tmp_path}: no scalars found' in text


def test_mistakes_are_told_before_the_table(tmp_path):
    run = write_run(tmp_path / 'a')
    status, text = run_tool('analyze_logs', tmp_path / 'nowhere')
    assert (status, text.strip()) == (1, f'{tmp_path}/nowhere: there is no such folder or file.')
    status, text = run_tool('analyze_logs', run, '--out', tmp_path / 'c.xyz')
    assert status == 1
    assert text.startswith(f'ChartFormatError: {tmp_path}/c.xyz')
    (tmp_path / 'file').write_bytes(b'\x80')
    status, text = run_tool('analyze_logs', run, '--out', tmp_path / 'file' / 'c.png')
    assert status == 1
    assert text.splitlines()[-1].startswith(('NotADirectoryError:', 'FileExistsError:'))
    status, text = run_tool('analyze_logs', tmp_path / 'file')
    assert (status, 'no scalars found' in text) == (1, True)
