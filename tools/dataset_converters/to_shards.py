"""Pack the pictures, labels and split files of a config's data sets into tar files with an index.

    python tools/dataset_converters/to_shards.py CONFIG --out-dir /data/ade20k-shards
    python tools/train.py CONFIG --cfg-options data_root=shards:///data/ade20k-shards

The config stays as it is: to it the shards are the folder that was packed. They are in the layout
of webdataset, too. A store takes the folder as it is, index.json last:

    aws s3 cp --recursive --exclude index.json /data/ade20k-shards s3://bucket/ade20k-shards
    aws s3 cp /data/ade20k-shards/index.json s3://bucket/ade20k-shards/index.json
    python tools/train.py CONFIG --cfg-options data_root=shards://s3://bucket/ade20k-shards
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.engine.command_line import parse_options, run_script, tool_parser

if TYPE_CHECKING:
    from segkit.storage.shard_writer import Member

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    parser.add_argument('--out-dir', required=True, type=Path, help='where the shards go')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS)
    parser.add_argument('--per-shard', type=int, default=1000, help='samples (default: 1000)')
    parser.add_argument('--workers', type=int, help='processes (default: one a core)')
    args = parser.parse_args()
    if args.per_shard < 1:
        parser.error(f'--per-shard {args.per_shard} must be 1 or more')
    return args


def main() -> None:
    args = parse_args()
    from segkit.datasets.parallel import Failure, parallel
    from segkit.engine.config import load_config
    from segkit.errors import UserError
    from segkit.storage.shard_writer import write_shards

    cfg = load_config(args.config, parse_options(args.cfg_options))

    def work(function: Callable, shards: Sequence) -> Iterator[Any]:
        for result in parallel(function, shards, 'shards', args.workers):
            if isinstance(result, Failure):
                raise UserError(result.reason)
            yield result

    root, shards = plan(cfg, args.splits, args.out_dir, args.per_shard)
    count = write_shards(args.out_dir, shards, work)
    print(
        f'{count} files of {root} in {len(shards)} shards. Use them with --cfg-options '
        f'data_root=shards://{args.out_dir.absolute()}'
    )


def plan(cfg: Any, splits: Sequence[str], folder: Path, per_shard: int) -> tuple[str, list]:
    """The data root, and the shards of all splits; what is in several is packed once."""
    from segkit.storage.shard_writer import SPLITS as SPLIT_FILES
    from segkit.storage.shard_writer import Member, Shard, shards_of

    root, packed, lists = None, set[str](), dict[str, Member]()
    shards: list[Shard] = []
    for split in splits:
        samples = []
        for dataset in datasets(cfg, split):
            root = same_root(root, dataset)
            for member in split_file(root, dataset):
                lists[member.path] = member
            found = (new_of(sample, packed) for sample in members(root, dataset))
            samples += [sample for sample in found if sample]
        shards += shards_of(folder, split, samples, per_shard)
    if lists:
        shards.append(Shard(folder / SPLIT_FILES, tuple(lists[path] for path in sorted(lists))))
    return root or '', shards


def new_of(sample: Sequence['Member'], packed: set[str]) -> list['Member']:
    """Its files that are in no earlier split, which it notes: a picture may have several labels."""
    new = [member for member in sample if member.path not in packed]
    packed.update(member.path for member in new)
    return new


def datasets(cfg: Any, split: str) -> Iterator[Any]:
    """Those of a split, wrappers taken off."""
    from segkit.inspection.config_datasets import leaf_configs
    from segkit.registry import DATASETS

    loader = cfg.get(f'{split}_dataloader')
    for part, _ in leaf_configs(loader['dataset']) if loader else ():
        dataset = DATASETS.build({**part, 'pipeline': [], 'fold': None, 'cache': None})
        dataset.full_init()
        yield dataset


def same_root(root: str | None, dataset: Any) -> str:
    """The data root that all data sets of the config have."""
    from segkit.errors import UserError

    own = str(dataset.data_root)
    if root not in (None, own):
        raise UserError(
            f'data_root: {root} and {own}: shards take the place of one folder. Pack the splits '
            'one by one (--splits), into a folder each.'
        )
    return own


def split_file(root: str, dataset: Any) -> Iterator['Member']:
    """The split file of a data set that has one."""
    from segkit.storage.shard_writer import Member, sample_members

    if dataset.ann_file:
        found = sample_members(root, dataset.ann_file, None)[0]
        yield Member(found.path, found.source, found.path)


def members(root: str, dataset: Any) -> Iterable[list['Member']]:
    """The files of each sample."""
    from segkit.datasets.paths import files_of
    from segkit.storage.shard_writer import sample_members

    return (sample_members(root, image, label) for image, label in files_of(dataset))


if __name__ == '__main__':
    run_script(main)
