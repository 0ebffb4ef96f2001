"""docs/reliability.md is what its table says."""

from helpers.reliability import CSV, PAGE, page, rows


def test_the_page_is_generated_from_the_table():
    assert PAGE.read_text() == page(), 'run make soak, or write page() to docs/reliability.md'


def test_nothing_was_lost():
    assert CSV.is_file()
    assert len(rows()) >= 9
    for fault, trials, recovered, _ in rows():
        assert int(trials) == int(recovered) > 0, fault
