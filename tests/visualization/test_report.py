"""The report page: what it holds, and that a real browser opens it without complaint."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from helpers.eval_samples import CLASSES, PALETTE, random_samples
from sklearn.metrics import jaccard_score

from segkit.evaluation.scalars import read_curves, scalar_files, smooth
from segkit.evaluation.scores import worst_confusions
from segkit.visualization import colourise
from segkit.visualization.report import ReportBuilder
from segkit.visualization.report.sections import Example, Ranking

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('chrome')


def write_scalars(folder):
    path = folder / '20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    lines = [{'loss': 2 - i / 50, 'lr': 0.01, 'step': i} for i in range(1, 80)]
    lines += [{'mIoU': 10.0 * i, 'step': 20 * i} for i in range(1, 5)]
    path.write_text('\n'.join(map(json.dumps, lines)) + '\n{"loss": 1.0, "st')
    return path


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    write_scalars(folder)
    builder = ReportBuilder(CLASSES, PALETTE, keep=2)
    panel = np.full((20, 30, 3), 90, np.uint8)
    for sample in random_samples(7):
        builder.add(
            f'<{sample.img_path}>',
            sample.gt_sem_seg.data,
            sample.pred_sem_seg.data,
            lambda: {'image': panel, 'ground truth': panel, 'prediction': panel},
        )
    path = folder / 'out/report.html'
    builder.write(
        path, 'a & b', work_dir=folder, config='x = "<y>"',
        environment={'torch': '2'}, timings={'test, s': '1'},
    )  # fmt: skip
    return path


class Tags(HTMLParser):
    """Checks that every tag is closed, and collects addresses."""

    VOID = frozenset({'meta', 'link', 'img'})

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_well_formed_and_asks_for_nothing(page):
    tags = Tags()
    tags.feed(page.read_text())
    assert tags.open == []
    assert tags.addresses
    assert all(address.startswith(('data:', '#')) for address in tags.addresses)
    assert not re.search(r'url\((?!#)|@import|<script', page.read_text())


def test_every_picture_is_listed_the_worst_first_with_the_mean_over_pictures(page):
    table = page.read_text().split('Each picture: mean over pictures of their mIoU')[1]
    mean = float(table.split('%')[0])
    rows = re.findall(
        r'<td class="text">&lt;(.*?)&gt;</td><td>([\d.]+)</td><td>([\d.]+)</td>', table
    )
    expected = []
    for sample in random_samples(7):
        label, pred = (x.data.flatten().numpy() for x in (sample.gt_sem_seg, sample.pred_sem_seg))
        known = label != 255
        present = np.union1d(label[known], pred[known])
        score = 100 * jaccard_score(label[known], pred[known], average=None, labels=present).mean()
        expected.append((sample.img_path, score, 100 * (label == pred)[known].mean()))
    expected.sort(key=lambda row: row[1])
    assert [name for name, *_ in rows] == [name for name, *_ in expected]
    found = np.array([[float(x) for x in numbers] for _, *numbers in rows])
    assert np.abs(found - [numbers for _, *numbers in expected]).max() < 0.006
    assert abs(mean - np.mean([score for _, score, _ in expected])) < 0.006


def test_page_holds_every_part(page):
    text = page.read_text()
    for part in ('Training', 'Classes', 'Confusion', 'Worst pictures', 'Best pictures', 'Run'):
        assert f'<h2>{part}</h2>' in text
    assert 'a &amp; b' in text
    assert 'x = &#34;&lt;y&gt;&#34;' in text
    assert text.count('<div class="box example">') == 4
    assert '&lt;images/000.jpg&gt;' in text or '&lt;images/' in text
    assert all(f'</i>{name}</td>' in text for name in CLASSES)


@pytest.mark.skipif(not CHROMIUM, reason='needs Chromium (apt-get install chromium)')
def test_a_browser_opens_it_without_an_error(page, tmp_path):
    def browse(address, *arguments):
        return subprocess.run(
            [
                CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr',
                f'--user-data-dir={tmp_path}', *arguments, str(address),
            ],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    broken = tmp_path / 'broken.html'
    broken.write_text('<script>throw new Error("seen")</script>')
    assert 'CONSOLE' in browse(broken, '--dump-dom').stderr, 'console errors must be visible here'
    opened = browse(page, '--dump-dom')
    assert 'CONSOLE' not in opened.stderr
    assert 'Worst pictures' in opened.stdout


def rows_of(text):
    """The cells of every table row, as a reader sees them."""
    rows = re.findall(r'<tr>(.*?)</tr>', text)
    return [[re.sub('<.*?>', '', cell) for cell in re.split('</t[dh]>', row)[:-1]] for row in rows]


def test_image_counts_are_of_labels_and_sizes_are_width_by_height(tmp_path):
    builder = ReportBuilder(('sky', 'tree'), PALETTE[:2])
    label = torch.zeros(20, 30, dtype=torch.uint8)
    builder.add('a.jpg', label, torch.ones_like(label), dict)
    builder.write(tmp_path / 'r.html', 'one image')
    rows = rows_of((tmp_path / 'r.html').read_text())
    images = {row[0]: row[-1] for row in rows if row[0] in ('sky', 'tree') and len(row) > 4}
    assert images == {'sky': '1', 'tree': '0'}
    assert rows[rows.index(['Width x height', 'Images', '%']) + 1] == ['30 x 20', '1', '100.0']


def test_report_without_labels_or_curves_still_opens(tmp_path):
    ReportBuilder(CLASSES, PALETTE).write(tmp_path / 'r.html', 'nothing')
    text = (tmp_path / 'r.html').read_text()
    assert 'No image has labels' in text
    for part in ('Training', 'Classes', 'Confusion', '>nan<'):
        assert part not in text


def test_images_without_labels_are_shown_with_their_predictions(tmp_path):
    builder = ReportBuilder(CLASSES, PALETTE, keep=2)
    panel = np.full((20, 30, 3), 90, np.uint8)
    for sample in random_samples(3):
        builder.add_unlabelled(
            sample.img_path, sample.pred_sem_seg.data, lambda: {'image': panel, 'prediction': panel}
        )
    builder.write(tmp_path / 'r.html', 'unlabelled')
    text = (tmp_path / 'r.html').read_text()
    assert '<h2>Pictures</h2>' in text
    assert text.count('alt="prediction of images/') == 2
    for part in ('mIoU <b', 'pixel accuracy', '>ignored<', 'nan'):
        assert part not in text


def page_of(tmp_path, label, pred):
    builder = ReportBuilder(CLASSES, PALETTE)
    builder.add('a', torch.tensor([label]), torch.tensor([pred]), dict)
    builder.write(tmp_path / 'r.html', 'one')
    return (tmp_path / 'r.html').read_text()


def test_classes_as_hard_as_the_hardest_are_counted(tmp_path):
    text = page_of(tmp_path, [0, 0, 1, 2, 3], [0, 0, 0, 0, 0])
    assert 'Best class: <b>sky</b> (' in text
    assert 'hardest: <b>tree</b> and 2 others (0.0 %)' in text


def test_the_legend_shows_ignored_pixels_as_the_pictures_do(tmp_path):
    shown = colourise(np.array([[255]]), PALETTE)[0, 0].tolist()
    swatch = 'rgb({},{},{})"></i>ignored'.format(*shown)
    assert swatch in page_of(tmp_path, [0, 1], [0, 0])


def test_a_bar_is_drawn_for_a_score_above_zero_only(tmp_path):
    text = page_of(tmp_path, [0, 0, 1, 2, 3], [0, 0, 0, 0, 0])
    assert text.count('<td class="meter">') == 5
    assert text.count('<i><b style="width') == 1


def test_worst_and_best_are_kept_and_only_they_are_drawn():
    ranking, drawn = Ranking(keep=2), []
    for score in (50, 10, 90, 60, 40, 95, 20, float('nan')):
        example = Example(str(score), score, 0, (1, 1), [], {})
        ranking.offer(example, lambda score=score: drawn.append(score) or {})
    worst, best = ranking.split()
    assert [e.score for e in worst] == [10, 20]
    assert [e.score for e in best] == [95, 90]
    assert len(drawn) < 8


def test_few_images_are_shown_once_each():
    ranking = Ranking(keep=6)
    for score in (1, 2, 3):
        ranking.offer(Example('', score, 0, (1, 1), [], {}), dict)
    worst, best = ranking.split()
    assert [e.score for e in worst + best] == [1, 3, 2]


def test_ranks_are_merged():
    ranks = [Ranking(2), Ranking(2)]
    for i, score in enumerate((1, 2, 3, 4, 5, 6)):
        ranks[i % 2].offer(Example('', score, 0, (1, 1), [], {}), dict)
    ranks[0].merge(ranks[1:])
    assert [[e.score for e in part] for part in ranks[0].split()] == [[1, 2], [6, 5]]


def test_curves_skip_a_line_cut_short_and_sort_by_step(tmp_path):
    write_scalars(tmp_path)
    curves = read_curves(scalar_files(tmp_path))
    assert curves['mIoU'] == ([20, 40, 60, 80], [10.0, 20.0, 30.0, 40.0])
    assert len(curves['loss'][0]) == 79


def test_smoothing_keeps_a_straight_line():
    line = list(np.arange(100.0))
    np.testing.assert_allclose(smooth(line)[10:-10], line[10:-10])


def test_smoothing_leaves_a_few_points_alone():
    assert smooth([27.5, 43.0]) == [27.5, 43.0]


def test_worst_confusions_are_sorted_by_pixels():
    matrix = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 0]])
    assert worst_confusions(matrix, 'abc', 2) == [('b', 'a', 50.0, 5), ('a', 'b', 20.0, 2)]


def test_hook_writes_the_page_of_a_test(tmp_path):
    from types import SimpleNamespace

    from segkit.registry import HOOKS

    samples = random_samples(3)
    dataset = SimpleNamespace(metainfo={'classes': CLASSES, 'palette': PALETTE})
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset), test_evaluator=None, world_size=1,
        work_dir=str(tmp_path), experiment_name='x',
        logger=SimpleNamespace(info=lambda text: None),
    )  # fmt: skip
    from mmengine.config import Config

    runner.cfg = Config({'load_from': 'a.pth'})
    hook = HOOKS.build({'type': 'ReportHook'})
    hook.before_test_epoch(runner)
    images = [torch.zeros(3, *sample.ori_shape, dtype=torch.uint8) for sample in samples]
    hook.after_test_iter(runner, 0, {'inputs': images}, samples)
    hook.after_test_epoch(runner, {'mIoU': 12.345})
    text = (tmp_path / 'report.html').read_text()
    assert '<b>12.35</b>' in text or '<b>12.34</b>' in text
    assert 'a.pth' in text
    assert text.count('<figcaption>errors</figcaption>') == 3
