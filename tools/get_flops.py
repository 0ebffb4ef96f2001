#!/usr/bin/env python
"""Parameters and floating-point operations of a config's network.

    python tools/get_flops.py psanet_r50-d8_512x512_80k_ade20k --shape 512 512

Counted by torch's own counter while one picture goes through: convolutions, matrix products and
attention; a multiplication with its addition is two operations (one MAC). Papers often print MACs
under the name of FLOPs, so both are shown. What is counted is what runs here: PSPNet's and PSANet's
heads take fewer operations than the written-out ones, with the same result.
"""

import argparse

from segkit.engine.command_line import parse_options, run_script, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    add, sizes = parser.add_argument, 'HEIGHT WIDTH, or one side'
    add('--shape', nargs='+', type=int, default=[512, 512], help=sizes)
    args = parser.parse_args()
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape {args.shape}: give HEIGHT WIDTH')
    args.shape = (args.shape * 2)[:2] if len(args.shape) == 1 else args.shape
    return args


def main() -> None:
    args = parse_args()
    from segkit.apis import init_model
    from segkit.evaluation.tables import format_table

    model = init_model(args.config, cfg_options=parse_options(args.cfg_options))
    counts = count(model, args.shape)
    rows = []
    for name, part in [('whole', model), *model.named_children()]:
        parameters = sum(p.numel() for p in part.parameters())
        # The counter names what was called; an auxiliary head is not, in testing.
        flops = counts.get('Global' if name == 'whole' else name, 0)
        rows.append([name, f'{parameters / 1e6:.2f}', f'{flops / 1e9:.2f}', f'{flops / 2e9:.2f}'])
    print(f'Input: 1 x 3 x {args.shape[0]} x {args.shape[1]}')
    print(format_table(['Part', 'Parameters, M', 'GFLOPs', 'GMACs'], rows))


def count(model, shape: list[int]) -> dict[str, int]:
    """Operations by child of the model, and of all of it under 'Global'."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    class AsStated(torch.Tensor):
        """Wide convolutions take plain tensors in fewer operations than they are said to have."""

    counter = FlopCounterMode(display=False, custom_mapping=own_operators())
    with counter, torch.no_grad():
        model(torch.zeros(1, 3, *shape).as_subclass(AsStated), mode='tensor')
    totals = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    prefix = f'{type(model).__name__}.'
    return {name.removeprefix(prefix): value for name, value in totals.items()}


def own_operators() -> dict:
    """Point-wise attention is one operator to torch: what its matrix products take."""
    import torch

    import segkit.ops  # noqa: F401  (registers the operator)

    def psa(value, feat, weight, collect, mask_h, mask_w, *rest, **_) -> int:
        (n, width, h, w), channels = value, feat[1]
        # Each own pixel has a logit for every other within the mask, and L * L pairs are summed.
        rows, columns = pairs(h, mask_h), pairs(w, mask_w)
        return 2 * n * (rows * columns * channels + h * w * h * w * width)

    return {torch.ops.segkit.psa_attention: psa}


def pairs(size: int, mask: int) -> int:
    """Pairs (own, other) of one axis that the mask holds."""
    from segkit.ops.psa_window import Reach

    reach = (Reach(size, mask).others(own, own) for own in range(size))
    return sum(stop - start for start, stop in reach)


if __name__ == '__main__':
    run_script(main)
