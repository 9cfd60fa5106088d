"""Which cells of NAS-Bench-201 searches on one supernet derive, epoch by epoch.

    NASRUNNER_DATA=… OMP_NUM_THREADS=1 python benchmarks/derived_cells.py darts --folder darts

The supernet is trained on half of CIFAR-10's training images and its architecture learns on the
other half, as in Liu et al. 2019 (arXiv:1806.09055), with its optimizer: SGD from 0.025 to 0.001 by
a cosine, momentum 0.9, weight decay 3e-4, gradients clipped at 5. To fit two cores, there are fewer
channels, smaller images and fewer epochs than in the benchmark, by default fewer images, and with
--depth 1 fewer cells.

A row is an epoch: the derived cell, how many of its six edges skip, the share of skips among what
the searcher would draw where it says so, and what the table says of the cell: test accuracy after
200 epochs. Dong & Yang 2020 (arXiv:2001.00326), table 5, have 54.30 for DARTS and ENAS, whose cells
only skip, and 93.23 for GDAS after searches of three seeds.

The folder is a study's: the same command goes on with it, where it was interrupted. What follows
the options overrides the study's settings: darts --folder second searcher.order=second.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from proxies import TABLE, TEST
from searcher_curves import composed, world
from supernet_ranking import channels, searched, stacked

from nasrunner.children.tables.table import BenchmarkTable

SEARCHERS = {
    "darts": (),
    "gdas": (),
    "enas": ("searcher.num_estimates=20", "searcher.num_trained=1"),
}
EDGES = 6
SKIP = "skip_connect"


def command(given: argparse.Namespace, overrides: list[str]) -> list[str]:
    """The study: a supernet, and one short training, with which it ends."""
    found = [sys.executable, "-m", "nasrunner", "space=nasbench201", "data=cifar10"]
    found += [f"data.resolution={given.resolution}", *channels(given.channels)]
    found += stacked(given.depth)
    found += ["data.validation_examples=25000", f"data.train_share={given.share}"]
    found += ["data.batch_size=64", "data.eval_batch_size=64", "trainer.limit_val_batches=32"]
    found += ["optimizer=sgd", "optimizer.lr=0.025", "optimizer.weight_decay=3e-4"]
    found += ["scheduler=cosine", "scheduler.eta_min=0.001", "trainer.gradient_clip_val=5"]
    found += [f"searcher={given.searcher}", *SEARCHERS[given.searcher]]
    found += ["max_children=1", "trainer.max_epochs=1"]
    found += [f"searcher.supernet={{trainer.max_epochs: {given.epochs}}}"]
    found += ["executor=serial", "tracker=none", f"seed={given.seed}", *overrides]
    return found


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def report(folder: Path) -> None:
    """Prints the table."""
    supernet = folder / "children" / "0000"
    lookup = world(TABLE).trainer.lookup
    path = Path(str(composed(TABLE, "random")["trainer"]["path"]))
    rows = BenchmarkTable(path, "arch", (TEST,), "").rows()
    curves = {line["epoch"]: line for line in records(supernet / "curves.jsonl")}
    print("| epoch | derived cell | skips | entropy | test accuracy |\n|---|---|---|---|---|")
    for line in records(supernet / "derived.jsonl"):
        cell = lookup.key(line["genotype"])
        metrics = curves[line["epoch"]]
        entropy = next((v for name, v in metrics.items() if name.endswith("entropy")), None)
        shown = "–" if entropy is None else f"{entropy:.3f}"
        named = cell.replace("|", " ").strip()
        skips = f"{cell.count(SKIP)} of {EDGES}"
        print(f"| {line['epoch'] + 1} | {named} | {skips} | {shown} | {rows[cell][TEST]:.2f} |")


def main() -> None:
    """Trains a supernet, and prints what was derived after each epoch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searcher", choices=SEARCHERS)
    parser.add_argument("--folder", type=Path, required=True, help="of the study")
    parser.add_argument("--epochs", type=int, default=50, help="of the supernet")
    parser.add_argument("--channels", type=int, default=4, help="of the first stage; theirs: 16")
    parser.add_argument("--depth", type=int, default=5, help="cells in each of three stages")
    parser.add_argument("--resolution", type=int, default=16, help="rows and columns; theirs: 32")
    parser.add_argument("--share", type=float, default=0.5, help="of the 25,000 training images")
    parser.add_argument("--seed", type=int, default=0)
    report(searched(parser, command))


if __name__ == "__main__":
    main()
