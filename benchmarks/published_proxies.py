"""Fisher and SynFlow of the networks that their published rank correlations are of.

    python benchmarks/published_proxies.py --cells 300 --fisher-cells 100

The code of Abdelfattah et al. 2021 (arXiv:2101.08134) builds NAS-Bench-201's networks in its own
way: convolutions in cells have biases, which the benchmark's have not (``bias=not affine``, and
their cells are not affine), and the two residual blocks keep their batch normalization where
SynFlow is to be without, since ``use_bn`` is not passed on to them. Each is put into the networks
of this project alone, and both together.

SynFlow is nearly the same for any first weights: all weights count by their absolute values, whose
mean torch's initialization fixes. So the expected SynFlow of all 15,625 cells takes a second
(``expected_synflow``), and a second table has its ρ over all of them, and over random samples.

Cells, batch and intervals are those of benchmarks/proxies.py; a cell shows Spearman's ρ with the
test accuracy of 200 epochs on 25,000 images, and how much less it is than that of the networks as
they are in the benchmark. Cells that a proxy says nothing of are left out. Scores are appended to a
file, a line for each cell: the same command goes on with it.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import shipped_space
from proxies import BATCH_SIZE, PUBLISHED, TABLE, THEIRS, interval, read, spearman
from searcher_curves import composed, world
from torch import nn
from torch.nn import functional

from nasrunner.children.fit.assembling import first_network
from nasrunner.children.muted import without_messages
from nasrunner.children.proxies.batch import first_batch
from nasrunner.children.proxies.scores import scores
from nasrunner.children.tables.table import BenchmarkTable
from nasrunner.compose.construct import construct
from nasrunner.core.order import rollout
from nasrunner.core.randomness.seeds import child_seed

# N = cells

CHANNELS = (16, 32, 64)
SAMPLE, NUM_SAMPLES = 179, 2000

BIASES = {
    f"share.module.cell.edge.or.{place}.named.module.concat.1.conv2d.bias": True for place in (2, 3)
}
"""Biases of the cells' convolutions: ``nor_conv_1x1`` and ``nor_conv_3x3``."""

VARIANTS = {
    "as in the benchmark": (False, False),
    "biases in cells": (True, False),
    "residual blocks normalized": (False, True),
    "both, as published": (True, True),
}
"""By name: whether convolutions in cells have biases, and whether residual blocks stay normal."""


class Normalized(nn.Module):
    """Batch normalization that SynFlow leaves in: of the input alone, without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, None, None, training=True)


def keep_normalization(network: nn.Sequential) -> None:
    """Keeps the batch normalization of the residual blocks of a network from being taken out."""
    cells = {
        id(m) for c in network.modules() if type(c).__name__ == "CellNetwork" for m in c.modules()
    }
    of_stem_and_top = {id(each) for each in network.children()}
    for parent in [m for m in network.modules() if id(m) not in cells]:
        for name, layer in parent.named_children():
            if isinstance(layer, nn.BatchNorm2d) and id(layer) not in of_stem_and_top:
                setattr(parent, name, Normalized())


def score_cells(path: Path, num_cells: int, num_of_fisher: int, seed: int) -> None:
    """Scores the first cells of a random order that the file lacks."""
    torch.set_num_threads(1)
    here = world(TABLE)
    config = {**composed(TABLE, "random"), "trainer": {"accelerator": "cpu"}}
    with without_messages():
        batch = first_batch(config, seed, construct, BATCH_SIZE)
    spaces = {False: here.space, True: shipped_space(TABLE, changes=BIASES)}
    done = {(record["cell"], record["proxy"]) for record in read(path)}
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    while len(drawn) < num_cells:
        genotype = rollout(here.space, rng)
        cell = here.trainer.lookup.key(genotype)
        if cell in drawn:
            continue
        drawn.add(cell)
        for proxy, most in (("synflow", num_cells), ("fisher", num_of_fisher)):
            if (cell, proxy) in done or len(drawn) > most:
                continue
            found = {}
            for name, (has_biases, keeps) in VARIANTS.items():
                if proxy == "fisher" and keeps:
                    continue  # it is of networks with all of their normalization
                frozen = spaces[has_biases].freeze(genotype)
                seeded = child_seed(seed, genotype, 0)
                network = first_network(frozen, (3, 32, 32), seeded, {"trainer": {}})
                if keeps:
                    assert isinstance(network, nn.Sequential)
                    keep_normalization(network)
                found[name] = scores(network, batch.x, batch.loss, [proxy]).values.get(proxy)
            with path.open("a") as file:
                file.write(json.dumps({"cell": cell, "proxy": proxy, "scores": found}) + "\n")


def expected_synflow(cell: str) -> float:
    """The logarithm of a cell's SynFlow with expected absolute weights, edges of images apart.

    A convolution of fan-in f multiplies by f times the mean of |w|, which is uniform in ±1/√f, so
    by √f / 2. The sum of |w · dR/dw| over a convolution is the part of R that flows through it, so
    that SynFlow is R times the number of convolutions on a path, averaged over what flows there.
    −inf for a cell without a path from its input to its output.
    """
    operations = re.findall(r"([a-z_0-9]+)~\d", cell)
    logarithm, convolutions = 0.0, 2.0  # the first convolution and the linear layer
    for channels in CHANNELS:
        flow, through = _through_cell(operations, channels)
        if flow == 0:
            return -math.inf
        logarithm += 5 * math.log(flow)
        convolutions += 5 * through / flow
        if channels != CHANNELS[-1]:
            short = math.sqrt(channels) / 2
            long = math.sqrt(9 * channels) / 2 * math.sqrt(9 * 2 * channels) / 2
            logarithm += math.log(short + long)
            convolutions += (short + 2 * long) / (short + long)
    return logarithm + math.log(convolutions)


def _through_cell(operations: Sequence[str], channels: int) -> tuple[float, float]:
    """What flows through a cell, and that times the convolutions it goes through."""
    flows, through = [1.0], [0.0]
    edges = iter(operations)
    for node in (1, 2, 3):
        flow = passed = 0.0
        for before in range(node):
            operation = next(edges)
            places = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}.get(operation)
            factor = math.sqrt(places * channels) / 2 if places else float(operation != "none")
            flow += factor * flows[before]
            passed += factor * (through[before] + (flows[before] if places else 0.0))
        flows.append(flow)
        through.append(passed)
    return flows[-1], through[-1]


def report_expected(rows: Mapping[str, Mapping[str, float]], measured: Mapping[str, float]) -> None:
    """Prints what expected SynFlow says of all cells, of samples, and of those that were measured.

    Args:
        rows: of the table, by cell.
        measured: SynFlow of some cells.
    """
    score_N = np.array([expected_synflow(cell) for cell in rows])
    truth_N = np.array([row[THEIRS] for row in rows.values()])
    rng = np.random.default_rng(0)
    samples = (rng.choice(len(rows), SAMPLE, replace=False) for _ in range(NUM_SAMPLES))
    found = [spearman(score_N[places], truth_N[places]) for places in samples]
    low, high = np.percentile(found, [2.5, 97.5])
    print(
        f"\nExpected SynFlow: ρ of all {len(rows):,} cells {spearman(score_N, truth_N):.3f}, "
        f"of {SAMPLE} of them between {low:.2f} and {high:.2f} in 95 % of {NUM_SAMPLES} samples"
    )
    if len(measured) > 1:
        expected_N = np.array([expected_synflow(cell) for cell in measured])
        alike = spearman(expected_N, np.array([*measured.values()]))
        print(f"ρ of expected and measured SynFlow of {len(measured)} cells: {alike:.3f}")


def less(a_N: np.ndarray, than_N: np.ndarray, truth_N: np.ndarray) -> float:
    """How much lower the correlation of one with the truth is."""
    return spearman(than_N, truth_N) - spearman(a_N, truth_N)


def report(records: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table."""
    path = Path(str(composed(TABLE, "random")["trainer"]["path"]))
    rows = BenchmarkTable(path, "arch", (THEIRS,), "").rows()
    print("| | ρ | less | published | cells |\n|---|---|---|---|---|")
    for proxy in ("synflow", "fisher"):
        of_proxy = [record for record in records if record["proxy"] == proxy]
        for name in VARIANTS if of_proxy else ():
            if name not in of_proxy[0]["scores"]:
                continue
            triples = [
                (
                    each["scores"][name],
                    each["scores"]["as in the benchmark"],
                    rows[each["cell"]][THEIRS],
                )
                for each in of_proxy
            ]
            known = np.array([[math.nan if v is None else v for v in each] for each in triples])
            score_N, base_N, truth_N = known[np.isfinite(known).all(axis=1)].T
            lower = interval(less, score_N, base_N, truth_N) if name in list(VARIANTS)[1:] else "–"
            row = [interval(spearman, score_N, truth_N), lower, f"{PUBLISHED[proxy]:.2f}"]
            print(f"| {proxy}, {name} | {' | '.join([*row, str(len(score_N))])} |", flush=True)
    of_synflow = [each for each in records if each["proxy"] == "synflow"]
    measured = {each["cell"]: each["scores"]["as in the benchmark"] for each in of_synflow}
    report_expected(rows, {cell: score for cell, score in measured.items() if score is not None})


def main() -> None:
    """Scores cells, and prints the correlations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--fisher-cells", type=int, default=100, help="the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", type=Path, default=Path("published_proxies.jsonl"))
    arguments = parser.parse_args()
    score_cells(arguments.scores, arguments.cells, arguments.fisher_cells, arguments.seed)
    report(read(arguments.scores))


if __name__ == "__main__":
    main()
