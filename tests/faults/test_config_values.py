"""Thousands of configs with one value changed; ``make soak`` alone, which writes the table."""

import csv
import os
from collections import Counter

import pytest
from helpers.config_fuzz import OUTCOMES, WELL, changes, outcome
from helpers.reliability import CONFIGS, PAGE, page
from helpers.tiny_config import tiny_config

KILLS = int(os.environ.get('SEGKIT_SOAK_KILLS', 0))
SHORT = dict(
    train_cfg__max_iters=1, train_cfg__val_interval=1, param_scheduler__0__end=1,
    train_dataloader__dataset__num_images=4, val_dataloader__dataset__num_images=1,
    test_dataloader__dataset__num_images=1,
)  # fmt: skip


@pytest.mark.skipif(not KILLS, reason='in a soak; tests/engine/test_config_values.py tries 100')
def test_most_wrong_values_are_named(tmp_path):
    cfg = tiny_config(tmp_path, **SHORT)
    ends = Counter(outcome(cfg, key, value)[0] for key, value in changes(cfg, 10 * KILLS, seed=1))
    total = sum(ends.values())
    assert total == 10 * KILLS
    assert sum(ends[kind] for kind in WELL) >= 0.95 * total, ends
    with open(CONFIGS, 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['outcome', 'changes'])
        writer.writerows([kind, ends[kind]] for kind in OUTCOMES)
    PAGE.write_text(page())
