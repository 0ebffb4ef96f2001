"""The names that SegFormer's authors gave their weights, as our Mix Transformer has them.

    patch_embed1.proj, .norm                  layers.0.0.projection, .norm
    block1.0.norm1, .norm2                    layers.0.1.0.norm1, .norm2
    block1.0.attn.q, .attn.kv                 layers.0.1.0.attn.attn.in_proj_weight, in_proj_bias
    block1.0.attn.proj, .sr, .norm            layers.0.1.0.attn.attn.out_proj, .attn.sr, .attn.norm
    block1.0.mlp.fc1, .dwconv.dwconv, .fc2    layers.0.1.0.ffn.layers.0, .1, .4
    norm1                                     layers.0.2

Queries stand before keys and values in one tensor, and linear layers over pixels are 1x1
convolutions. The authors' head (linear_c1 to linear_c4, linear_fuse) has no norm and no ReLU behind
its four linear layers, so its weights would compute something else in ``SegformerHead``: they keep
their names, and whoever tests with such a file is told so.
"""

import re
from collections.abc import Iterable, Mapping

import torch

_TOLD_BY = re.compile(r'(?:.*\.)?block1\.0\.attn\.q\.weight')
_HEAD = re.compile(r'(?:.*\.)?linear_c1\.proj\.weight')
_STAGE = re.compile(r'(?P<before>(?:[^.]+\.)*?)(?P<kind>patch_embed|block|norm)(?P<stage>[1-9])\.')
_INSIDE = {
    'proj.': 'projection.',
    'attn.proj.': 'attn.attn.out_proj.',
    'mlp.fc1.': 'ffn.layers.0.',
    'mlp.dwconv.dwconv.': 'ffn.layers.1.',
    'mlp.fc2.': 'ffn.layers.4.',
}


def has_their_head(names: Iterable[str]) -> bool:
    """Whether the authors' head is among them."""
    return any(_HEAD.fullmatch(name) for name in names)


def of_segformer(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state under our names, whatever stands before them; one that is not theirs as it is."""
    if not any(_TOLD_BY.fullmatch(name) for name in state):
        return dict(state)
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        match = _STAGE.match(name)
        if match is None:
            renamed[name] = tensor
            continue
        start = f'{match["before"]}layers.{int(match["stage"]) - 1}.'
        rest = name[match.end() :]
        if match['kind'] == 'norm':
            renamed[f'{start}2.{rest}'] = tensor
        elif match['kind'] == 'patch_embed':
            renamed[f'{start}0.{_inside(rest)}'] = tensor
        elif '.attn.kv.' in name:
            continue  # with q
        elif '.attn.q.' in name:
            block, _, end = rest.partition('.attn.q.')
            other = state.get(name.replace('.attn.q.', '.attn.kv.'))
            whole = tensor if other is None else torch.cat([tensor, other])
            renamed[f'{start}1.{block}.attn.attn.in_proj_{end}'] = whole
        else:
            block, _, inner = rest.partition('.')
            pixelwise = inner in ('mlp.fc1.weight', 'mlp.fc2.weight') and tensor.dim() == 2
            shaped = tensor[:, :, None, None] if pixelwise else tensor
            renamed[f'{start}1.{block}.{_inside(inner)}'] = shaped
    return renamed


def _inside(name: str) -> str:
    """A name inside a block or an embedding."""
    for theirs, ours in _INSIDE.items():
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


HEAD_ADVICE = (
    'These are weights of the authors of SegFormer. The backbone is read; their head has no norm '
    'and no ReLU behind its four linear layers and would compute something else here: train a head '
    'on the backbone (load_from, or pretrained of the backbone), or take the file that '
    'mmsegmentation published.'
)
