"""NCCL: what ranks exchange, and a training through segkit, on all cards there are, two at most.

    python tools/benchmarks/gpu_distributed.py

NCCL refuses two ranks on one card, so one card is a group of one. With ``--rank`` this is a rank.
"""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import gpu_device as device
import torch
import torch.distributed as dist
from gpu_bench import Bench
from torch import nn

WORDS = 2**16 if device.REHEARSAL else 2**26  # float32 of a timed all-reduce
SMALL = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'train_dataloader.batch_size=2']
SMALL += ['val_dataloader.dataset.num_images=2', 'default_hooks.logger.interval=1']


def rank(bench: Bench, case: str) -> None:
    """Sums over ranks, and a network with SyncBN under DDP whose gradients all ranks share."""
    number, count = dist.get_rank(), dist.get_world_size()
    place = torch.device(device.DEVICE, None if device.REHEARSAL else number)
    total = torch.full((3,), float(number + 1), device=place)
    dist.all_reduce(total)
    assert total.tolist() == [count * (count + 1) / 2] * 3, total
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8) if device.REHEARSAL else nn.SyncBatchNorm(8)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 2, 1)).to(place)
    parallel = nn.parallel.DistributedDataParallel(network)
    parallel(torch.randn(2, 3, 16, 16, device=place) * (number + 1)).square().mean().backward()
    own = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    each = [torch.empty_like(own) for _ in range(count)]
    dist.all_gather(each, own)
    assert own.isfinite().all()
    assert all(torch.equal(own, other) for other in each)
    data = torch.ones(WORDS, device=place)
    (seconds,) = bench.seconds(lambda: dist.all_reduce(data))
    if number == 0:
        moved = 2 * (count - 1) / count * data.nbytes
        note = f'{count} ranks, {device.BACKEND}, bytes moved by a ring'
        bench.add(case, ms=seconds * 1e3, gb_per_s=moved / seconds / 1e9, note=note)


def as_rank(bench: Bench) -> None:
    if not device.REHEARSAL:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    dist.init_process_group(device.BACKEND)
    bench.run('all-reduce, DDP and SyncBN', rank)
    gc.collect()  # DDP is a cycle that holds the group: it has to go before the group does
    dist.barrier()
    dist.destroy_process_group()


def launched(bench: Bench, case: str, words: list[str]) -> None:
    """A command that must end with status 0."""
    done = subprocess.run(words, timeout=max(bench.left(), 1))
    bench.add(case, 'failed' if done.returncode else 'ok', note=f'status {done.returncode}')


def main() -> None:
    ranks = '--rank' in sys.argv
    sys.argv = [word for word in sys.argv if word != '--rank']
    arguments = sys.argv[1:]
    bench = Bench('distributed', __doc__)
    if ranks:
        as_rank(bench)
        raise SystemExit(bench.status)
    count, own = str(device.cards()), [str(Path(__file__).resolve()), *arguments, '--rank']
    if device.REHEARSAL:
        own.insert(0, str(Path(__file__).resolve().with_name('gpu_lines.py')))
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--master-addr', '127.0.0.1']
    port = str(20000 + os.getpid() % 10000)
    torchrun += ['--master-port', port, '--nproc-per-node']  # a bare host's name leads nowhere
    bench.run(f'{count} ranks', launched, [*torchrun, count, *own])
    os.environ['PYTHON'] = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        train = [
            'bash',
            str(device.ROOT / 'tools' / 'dist_train.sh'),
            'pspnet_r18-d8_shapes',
            count,
        ]
        train += ['--work-dir', folder, '--cfg-options', *SMALL]
        bench.run(f'training of {count} ranks', launched, train)
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
