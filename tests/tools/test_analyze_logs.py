from helpers.run_folders import write_run
from helpers.run_tool import run_tool


def test_table_and_picture_of_two_runs(tmp_path):
    a, b = write_run(tmp_path / 'a'), write_run(tmp_path / 'b', gain=5)
    status, text = run_tool('analyze_logs', a, b, '--out', tmp_path / 'c.png', '--smooth')
    assert status == 0, text
    assert '| b   | mIoU   |      3 |   65 |    25 |   65 |' in text
    assert (tmp_path / 'c.png').stat().st_size > 10_000


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
