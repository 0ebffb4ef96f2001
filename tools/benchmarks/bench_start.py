"""From a checkpoint file to a model ready to predict: initialise and copy, or map and assign.

python tools/benchmarks/bench_start.py        writes results/start.csv; needs 400 MB of /tmp

Both ways end with the same weights (checked). CPU seconds of this process and peak memory of a
fresh one each, medians of alternating runs; files are in the page cache.
"""

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
WAYS = ('initialise, load, copy', 'meta device, map, assign')


def once(way: str, config: str, path: str) -> None:
    """Run one way in this process and print CPU seconds, peak MiB above the imports, a checksum."""
    import torch

    from segkit.engine.checkpoint import build_on_meta, load_into
    from segkit.engine.config import load_config
    from segkit.registry import MODELS

    torch.set_num_threads(1)
    cfg = load_config(config)
    cfg.model.pretrained = None
    build_on_meta(cfg.model)  # all imports: they are not what is measured
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if way == WAYS[0]:
        model = MODELS.build(cfg.model)
        model.init_weights()
        loaded = torch.load(path, map_location='cpu', weights_only=True)
        model.load_state_dict(loaded['state_dict'])
    else:
        model = build_on_meta(cfg.model)
        load_into(model, path)
    seconds = time.process_time() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    checksum = sum(tensor.double().sum().item() for tensor in model.state_dict().values())
    print(seconds, peak, checksum)


def write_checkpoint(config: str, path: Path) -> None:
    import torch

    from segkit.engine.config import load_config
    from segkit.registry import MODELS

    cfg = load_config(config)
    cfg.model.pretrained = None
    torch.save({'meta': {}, 'state_dict': MODELS.build(cfg.model).state_dict()}, path)


def measure(config: str, repeats: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.pth'
        write_checkpoint(config, path)
        results = {way: [] for way in WAYS}
        for _ in range(repeats):
            for way in WAYS:
                command = [sys.executable, __file__, '--once', way, '--config', config, str(path)]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                results[way].append([float(x) for x in out.split()])
        size = path.stat().st_size / 2**20
    if len({row[2] for rows in results.values() for row in rows}) != 1:
        raise SystemExit('the two ways ended with different weights')
    return [
        {
            'config': config, 'way': way, 'file MiB': round(size),
            'CPU s': round(statistics.median(row[0] for row in rows), 3),
            'peak MiB': round(statistics.median(row[1] for row in rows)),
        }
        for way, rows in results.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('path', nargs='?')
    parser.add_argument('--once', choices=WAYS, help='for the child processes')
    parser.add_argument('--config', default='psanet_r50-d8_512x1024_80k_cityscapes')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    if args.once:
        once(args.once, args.config, args.path)
        return
    rows = measure(args.config, args.repeats)
    target = Path(__file__).with_name('results') / 'start.csv'
    with target.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(row)


if __name__ == '__main__':
    main()
