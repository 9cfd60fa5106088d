"""NATS-Bench's comparison of searchers on CIFAR-10. Dong et al. 2021, arXiv:2009.00437, table 4.

    python benchmarks/nats_protocol.py --seeds 500
    python benchmarks/nats_protocol.py --searchers "asha eta=17 around smbo" --seeds 300

A search on NAS-Bench-201's table lasts 20,000 simulated seconds: what training each cell for 12
epochs would have taken. It is driven by validation accuracy after 12 epochs; then the cell with the
best of these is judged by its mean test accuracy after 200 epochs. A row shows the mean ± standard
deviation over the seeds, as the paper does over 500 runs, and how far the means are apart in
standard errors of their difference. As in the authors' code, a search ends with the child that
exceeds the budget, and repeated cells are paid for again.

Searches with promotions, "asha eta=17 around smbo", train each cell for 12 epochs and the best of
them, as their rungs say, for 200: the table's trainings of 12 epochs have a schedule of their own,
so that a promotion begins anew and pays for all 200, of a random cell 3,650 seconds, and 12 epochs
219. A training of 200 epochs that would end beyond the budget ends the search and does not
count. What a search chooses is the cell with the best validation accuracy after 200 epochs; of a
search that has promoted none, the one with the best after 12, as above. In its row "promoted" are
the trainings of 200 epochs, and "none" is the share of searches without any. The inner searcher
learns of a promoted cell the accuracy after 200 epochs, as in a study. With eta=17, about 200 / 12,
either rung takes about as long as the other.

Differs from the paper:

* Seconds come from a fit of training times to counts of operations (conf/trainer/nasbench201.yaml)
  instead of each cell's own, and leave out one pass over the validation images. Should they be too
  long or short, --seconds-factor shows what that would change: it sets the number of children.
* Accuracies after 12 epochs are those of the table; the authors' code draws one of the trainings
  that were recorded for a cell, where there were several.
* Test accuracies are means of NAS-Bench-201's trainings; the paper's are of NATS-Bench's release.
* Evolution replaces an operation by another on one of the six edges, drawn uniformly; theirs draws
  the node first, so that the edge into node 1 changes three times as often as one into node 3.
* REINFORCE is an LSTM over the edges instead of an independent softmax for each of them, and its
  learning rate, updates after every child and decay of 0.9 are theirs. Their baseline is a moving
  average without the bias towards its first value, and includes the reward it is subtracted from.
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from searcher_curves import SMALL_EVOLUTION, composed, world

from nasrunner.searchers.wrappers.promoting import Promoting

TABLE = "nasbench201"
NATS_REINFORCE = "reinforce learning_rate=0.01 children_per_replica=1 baseline_decay=0.9"
PUBLISHED = {
    "random": (93.70, 0.36),
    SMALL_EVOLUTION: (93.92, 0.30),
    NATS_REINFORCE: (93.85, 0.37),
}
"""Mean and standard deviation of the test accuracy in percent over 500 runs."""
PUBLISHED_RUNS = 500

AROUND = " around "
EPOCHS = "trainer.max_epochs"
CHEAP, WHOLE = 12, 200
"""The epochs of the table's trainings."""
PROMOTING = [
    f"{outer}{AROUND}{inner}"
    for outer in (
        *("asha", "asha eta=17"),
        # With 51 children and three promotions a bracket takes about the whole budget.
        *("successive_halving", "successive_halving eta=17 num_children=51"),
        *("hyperband", "hyperband eta=17"),
    )
    for inner in ("random", SMALL_EVOLUTION, "smbo")
]


@dataclass(frozen=True)
class Found:
    """What one search came to.

    Attributes:
        num_children: cells trained for 12 epochs.
        num_whole: those trained for 200.
        validation: the best accuracy after 12 epochs, percent.
        test: the accuracy of the cell that was chosen after 200 epochs, percent.
    """

    num_children: int
    num_whole: int
    validation: float
    test: float


def configured(name: str) -> dict[str, Any]:
    """The configuration of a searcher, or of one with promotions around another."""
    outer, around, inner = name.partition(AROUND)
    config: dict[str, Any] = composed(TABLE, outer)["searcher"]
    if not around:
        return config
    within = {**composed(TABLE, inner)["searcher"], "_partial_": True}
    return {**config, "searcher": within, "fidelity": {EPOCHS: [CHEAP]}}


def search(config: dict[str, Any], budget_s: float, factor: float, seed: int) -> Found:
    """Searches until the simulated seconds are spent."""
    torch.set_num_threads(1)
    here = world(TABLE)
    searcher = here.searcher(config, seed)
    lookup = here.trainer.lookup
    if isinstance(searcher, Promoting):
        lookup = replace(lookup, plain=lookup.fidelities.columns[EPOCHS, WHOLE])
    used_s = 0.0
    rewards: dict[bool, list[float]] = {True: [], False: []}  # by whether it is of 200 epochs
    tests: dict[bool, list[float]] = {True: [], False: []}
    while used_s < budget_s:
        proposal = searcher.propose()
        if proposal is None:
            break
        outcome = lookup(proposal)
        assert outcome.reward is not None
        used_s += factor * outcome.cost_s
        is_whole = isinstance(searcher, Promoting) and not proposal.fidelity
        if is_whole and used_s > budget_s:
            break
        searcher.observe(outcome)
        rewards[is_whole].append(outcome.reward)
        tests[is_whole].append(outcome.metrics["c10_test_200"])
    chosen = bool(rewards[True])
    test = tests[chosen][int(np.argmax(rewards[chosen]))]
    cheap = rewards[False]
    return Found(len(cheap), len(rewards[True]), max(cheap, default=math.nan), test)


def report(name: str, found: list[Found]) -> None:
    """Prints the row of one searcher."""
    test_S = np.array([each.test for each in found])
    mean, deviation = test_S.mean(), test_S.std(ddof=1)
    row = [f"{mean:.2f} ± {deviation:.2f}"]
    if name in PUBLISHED:
        their_mean, their_deviation = PUBLISHED[name]
        error = math.sqrt(deviation**2 / len(found) + their_deviation**2 / PUBLISHED_RUNS)
        row += [f"{their_mean:.2f} ± {their_deviation:.2f}", f"{(mean - their_mean) / error:+.1f}"]
    else:
        row += ["–", "–"]
    row += [f"{np.mean([each.validation for each in found]):.2f}"]
    row += [f"{np.mean([each.num_children for each in found]):.0f}"]
    if AROUND in name:
        none = np.mean([each.num_whole == 0 for each in found])
        row += [f"{np.mean([each.num_whole for each in found]):.1f}", f"{none:.0%}"]
    else:
        row += ["–", "–"]
    row += [str(len(found))]
    print(f"| {name} | {' | '.join(row)} |", flush=True)


def main() -> None:
    """Runs every searcher over its seeds and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [*PUBLISHED, "smbo", *PROMOTING]
    parser.add_argument("--searchers", nargs="+", default=every, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=500, help="of each searcher")
    parser.add_argument("--budget-s", type=float, default=20_000, help="simulated seconds")
    parser.add_argument(
        "--seconds-factor", type=float, default=1.0, help="what a simulated second counts"
    )
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    world(TABLE)  # before the processes are forked
    columns = ["test after 200 epochs", "published", "apart", "validation", "children"]
    columns += ["promoted", "none", "seeds"]
    print(f"| searcher | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in arguments.searchers:
            config = configured(name)
            task = partial(search, config, arguments.budget_s, arguments.seconds_factor)
            chunk = max(1, arguments.seeds // 16)
            report(name, list(pool.map(task, range(arguments.seeds), chunksize=chunk)))


if __name__ == "__main__":
    main()
