"""How far a test is, told where there is no terminal."""

from types import SimpleNamespace

from segkit.engine.hooks import ProgressHook


class Loader(list):
    dataset = range(19)


def test_plain_lines_count_the_images_of_all_ranks(capsys):
    runner = SimpleNamespace(test_dataloader=Loader([None] * 10), world_size=2)
    hook = ProgressHook(every=0)
    hook.before_test_epoch(runner)
    for batch in range(10):
        hook.after_test_iter(runner, batch, None, [None])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert '| 10/19 [00:0' in lines[4]
    assert 'img/s]' in lines[4]
    assert lines[-1].startswith('100%|#')
    assert '| 19/19 [' in lines[-1]


def test_lines_come_no_more_often_than_asked_for_and_the_last_always(capsys):
    runner = SimpleNamespace(test_dataloader=Loader([None] * 10), world_size=2)
    hook = ProgressHook(every=60)
    hook.before_test_epoch(runner)
    for batch in range(10):
        hook.after_test_iter(runner, batch, None, [None])
    assert len(capsys.readouterr().err.splitlines()) == 1
