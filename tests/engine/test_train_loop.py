"""Validating and accumulating: what the loops count, average and refuse."""

from collections import Counter

import pytest
import torch
from helpers.runs import read, train
from helpers.small_runs import small_config
from helpers.tiny_config import NO_VALIDATION, tiny_config
from mmengine.hooks import Hook

from segkit.engine import ConfigError, Runner, stops


@pytest.mark.parametrize('batch_size', [1, 2])
def test_the_validation_loss_is_the_mean_loss_of_the_validation_images(tmp_path, batch_size):
    """Three images: the last batch of two is half full."""
    runner = train(tmp_path, val_cfg__val_loss=True, val_dataloader__batch_size=batch_size)
    got = runner.message_hub.get_scalar('val/val_loss').current()
    model = runner.model.eval()
    losses = []
    with torch.no_grad():
        for image in runner.val_dataloader.dataset:
            batch = {key: [value] for key, value in image.items()}
            terms = model(**model.data_preprocessor(batch, training=False), mode='loss')
            losses.append(sum(float(v) for k, v in terms.items() if 'loss' in k))
    assert len(losses) == 3
    assert got == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_scalar_that_some_batches_lack_is_the_mean_of_the_others(tmp_path):
    runner = Runner.from_cfg(tiny_config(tmp_path, val_cfg__val_loss=True))
    seen = []

    def parse(losses):
        seen.append(len(seen))
        terms = dict(every=torch.tensor(float(seen[-1])))
        if seen[-1] != 1:
            terms['some'] = torch.tensor(10.0 + seen[-1])
        return torch.tensor(1.0), terms

    runner.model.parse_losses = parse
    metrics = runner.val()
    assert len(seen) == 3
    assert {k: v for k, v in metrics.items() if k.startswith('val_')} == dict(
        val_every=1.0, val_some=11.0, val_loss=1.0
    )


def test_validation_without_an_image_has_no_loss(tmp_path):
    loop = Runner.from_cfg(tiny_config(tmp_path, val_cfg__val_loss=True)).val_loop
    assert loop.losses() == {}


def test_no_validation_before_the_iteration_where_it_begins(tmp_path):
    options = dict(train_cfg__val_begin=6, train_cfg__val_interval=2)
    runner, validated = Runner.from_cfg(tiny_config(tmp_path, **options)), []
    runner.val_loop.run = lambda: validated.append(runner.iter)
    runner.train()
    assert validated == [6, 8]


def test_accumulation_equals_the_large_batch(tmp_path):
    """Batch-independent normalisation, no dropout: two batches of one are one batch of two."""
    norm = dict(type='GN', num_groups=2, _delete_=True)
    options = {f'model__{part}__norm_cfg': norm
               for part in ('backbone', 'decode_head', 'auxiliary_head')}  # fmt: skip
    options['model__decode_head__dropout_ratio'] = 0.0
    options['model__auxiliary_head__dropout_ratio'] = 0.0
    train(tmp_path / 'large', **options)
    train(tmp_path / 'split', **options, train_cfg__accumulate=2, train_dataloader__batch_size=1)
    large, split = (read(tmp_path / n / 'iter_8.pth')['state_dict'] for n in ('large', 'split'))
    for name, tensor in large.items():
        torch.testing.assert_close(split[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_accumulated_batches_need_not_have_the_same_scalars(tmp_path):
    runner = train(tmp_path, train_cfg__accumulate=2, model__decode_head__acc_interval=3)
    accuracy = runner.message_hub.get_scalar('train/decode.acc_seg').data[0]
    assert len(accuracy) == 5  # of 16 batches


def test_accumulated_batches_are_logged_by_their_mean(tmp_path):
    options = dict(train_cfg__accumulate=2, train_cfg__max_iters=2, **NO_VALIDATION)
    runner = Runner.from_cfg(tiny_config(tmp_path, **options))
    losses = iter([1.0, 3.0, 2.0, 6.0])
    runner.model.train_step = lambda data, optim_wrapper: dict(loss=torch.tensor(next(losses)))
    runner.train()
    assert runner.message_hub.get_scalar('train/loss').data[0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ('accumulate', 'base', 'message'),
    [
        (0, None, 'accumulate=0: a number >= 1'),
        ('auto', None, 'needs the batch to reach'),
        ('auto', 7, 'cannot reach 7 images per step with 2 per batch'),
    ],
)
def test_accumulation_that_cannot_be(tmp_path, accumulate, base, message):
    options = dict(train_cfg__accumulate=accumulate)
    if base:
        options['auto_scale_lr'] = dict(base_batch_size=base)
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, **options)


def test_mmengines_runner_trains_with_our_parts_and_one_warning_says_what_it_lacks(tmp_path):
    """The notebook way: our model, data, loop, metric and checkpoint hook, without our Runner."""
    from mmengine.runner import Runner as OtherRunner

    runner = OtherRunner.from_cfg(tiny_config(tmp_path / 'theirs'))
    with pytest.warns(UserWarning, match='from segkit.engine import Runner') as said:
        runner.train()
    assert len([w for w in said if 'segkit.engine.Runner' in str(w.message)]) == 1
    assert type(runner.val_evaluator.metrics[0]).__name__ == 'IoUMetric'
    assert type(runner.model).__name__ == 'EncoderDecoder'
    assert {path.name for path in (tmp_path / 'theirs').glob('iter_*')} == {
        'iter_6.pth', 'iter_8.pth',
    }  # fmt: skip
    ours = train(tmp_path / 'ours')
    theirs = runner.model.state_dict()
    # SyncBN becomes mmengine's own class there, of the same numbers.
    assert [k for k, v in ours.model.state_dict().items() if not torch.equal(v, theirs[k])] == []


class _Images(Hook):
    """Notes which pictures came, and where the epochs ended; a signal after ``at`` iterations,
    heard in the next."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.seen, self.ends = at, Counter(), []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.update(sample.img_path for sample in data_batch['data_samples'])
        if runner.iter + 1 == self.at:
            stops.ask()

    def after_train_epoch(self, runner):
        self.ends.append((runner.epoch + 1, runner.iter))


@pytest.mark.parametrize(('batch', 'ends'), [(4, [(2, 7), (3, 9)]), (1, [(2, 10), (3, 18)])])
def test_a_run_by_epochs_goes_on_to_its_last_epoch_in_batches_of_another_size(
    tmp_path, batch, ends
):
    def run(hook, size, **more):
        changed = {'train_dataloader.dataset.num_images': 8, 'train_dataloader.batch_size': size}
        cfg = small_config(tmp_path, 'epochs', **changed, **more)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(hook)
        return runner

    first, second = _Images(5), _Images()
    with pytest.raises(SystemExit):
        run(first, 2).train()
    stops._Stop.asked = None
    resumed = run(second, batch, resume=True)
    resumed.train()
    assert first.ends == [(1, 4)]
    assert second.ends == ends
    assert set((first.seen + second.seen).values()) == {3}
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_3.pth'
    assert read(tmp_path / 'epoch_3.pth')['meta']['iter'] == resumed.iter == ends[-1][1]
