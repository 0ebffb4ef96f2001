#!/usr/bin/env python
"""Images per second and peak memory of a config's network, for inputs of one size.

    python tools/benchmark.py pspnet_r50-d8_512x1024_40k_cityscapes --shape 1024 2048 --device cuda
    python tools/benchmark.py CONFIG --train --shape 512 512 --batch-size 2
    python tools/benchmark.py CONFIG --backend openvino --precision bf16

Testing is measured from normalised input to class map, training with its backward pass; data
loading is not. The median of the repetitions counts. Memory is what CUDA's allocator reports; on a
CPU the resident size of the process.
"""

import argparse
import json

from segkit.engine.command_line import (
    add_engine_arguments,
    add_shared,
    engine_options,
    parse_options,
    run_script,
    tool_parser,
)
from segkit.outputs import own_outputs
from segkit.whole_file import write_text

SWITCHES = ('fuse_bn', 'channels_last', 'bf16')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    add = parser.add_argument
    add('--checkpoint', help='speed does not depend on it')
    add_shared(parser, '--shape', '--batch-size')
    add('--repeats', type=int, default=10)
    add('--warmup', type=int, default=2)
    add('--train', action='store_true', help='forward and backward, without the optimizer')
    add_shared(parser, '--device')
    add('--threads', type=int, help='of a CPU')
    add_shared(parser, '--fuse-bn', '--channels-last', '--bf16')
    add('--out', help='also write the result as JSON')
    add_engine_arguments(parser)
    args = parser.parse_args()
    if min(args.repeats, args.batch_size, *args.shape) < 1:
        parser.error('--repeats, --batch-size and --shape must be positive')
    if args.train and args.fuse_bn:
        parser.error('--fuse-bn is for testing: training takes its statistics from the batch')
    if args.train and args.backend not in (None, 'torch'):
        parser.error(f'--backend {args.backend} runs a trained network: leave out --train')
    return args


def main() -> None:
    args = parse_args()
    with own_outputs('--out', 'benchmark', [args.out], [args.config, args.checkpoint]):
        benchmark(args)


def benchmark(args: argparse.Namespace) -> None:
    import torch

    from segkit.apis import init_model

    if args.threads:
        torch.set_num_threads(args.threads)
    switches = {name: getattr(args, name) for name in SWITCHES}
    options = parse_options(args.cfg_options)
    engine = engine_options(args)
    model = init_model(args.config, args.checkpoint, args.device, options, **switches, **engine)
    device = next(model.parameters()).device
    if device.type == 'cuda':
        torch.cuda.set_device(device)  # whose work is waited for, and whose memory is read
    step = training_step(model, args) if args.train else testing_step(model, args)
    result = measure(step, args)
    for name, value in result.items():
        print(f'{name + ":":24}{value}')
    if args.out:
        write_text(args.out, json.dumps(result, indent=1) + '\n')


def samples(args: argparse.Namespace, num_classes: int | None = None) -> list:
    """Data samples of the input's size, with labels where a number of classes is given."""
    import torch

    from segkit.structures import PixelData, SegDataSample

    shape = tuple(args.shape)
    meta = {'ori_shape': shape, 'img_shape': shape, 'pad_shape': shape, 'img_path': 'random'}
    made = [SegDataSample(metainfo=dict(meta)) for _ in range(args.batch_size)]
    for sample in made if num_classes else ():
        label = torch.randint(0, num_classes, (1, *shape), dtype=torch.uint8, device=args.device)
        sample.gt_sem_seg = PixelData(data=label)
    return made


def testing_step(model, args: argparse.Namespace):
    """Input to class map, without gradients."""
    import torch

    inputs = torch.randn(args.batch_size, 3, *args.shape, device=args.device)
    batch = samples(args)

    def step() -> None:
        with torch.no_grad():
            model(inputs, batch, mode='predict')

    return step


def training_step(model, args: argparse.Namespace):
    """Losses and their gradients."""
    import torch

    model.train()
    inputs = torch.randn(args.batch_size, 3, *args.shape, device=args.device)
    inputs = inputs.contiguous(memory_format=model.memory_format)
    batch = samples(args, model.decode_head.num_classes)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with model.precision(inputs):  # as a training's AmpOptimWrapper does
            losses = model(inputs, batch, mode='loss')
        sum(v.sum() for k, v in losses.items() if 'loss' in k).backward()

    return step


def measure(step, args: argparse.Namespace) -> dict:
    """Median time of a step and the peak memory after all of them."""
    import statistics
    import time

    import torch

    from segkit.engine.env import peak_memory_mb

    cuda = torch.device(args.device).type == 'cuda'
    seconds = []
    for _ in range(args.warmup + args.repeats):
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[args.warmup :])
    return {
        'config': str(args.config),
        'mode': 'train' if args.train else 'test',
        **{name: getattr(args, name) for name in SWITCHES},
        **engine_options(args),
        'cfg_options': parse_options(args.cfg_options),
        'input': f'{args.batch_size} x 3 x {args.shape[0]} x {args.shape[1]}',
        'images_per_second': round(args.batch_size / median, 3),
        'seconds_per_step': round(median, 5),
        'peak_memory_mb': peak_memory_mb(),
        'device': torch.cuda.get_device_name()
        if cuda
        else f'cpu, {torch.get_num_threads()} threads',
    }


if __name__ == '__main__':
    run_script(main)
