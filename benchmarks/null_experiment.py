"""Intervals of the report where there is nothing to find: one searcher, compared with itself.

    NASRUNNER_DATA=… python benchmarks/null_experiment.py --table nasbench_macro

Each searcher makes --searches searches, with a seed each. Of these, two groups of 5 (or 10)
different ones are drawn and compared as the report compares two searchers, --pairs times over.
95 % of the intervals should hold the true difference, which is 0.

A row shows the share of those that do, in percent, for the best reward and for the mean of the best
5 and 15 different children: compared at equal seeds (paired, though the searches are independent)
and without (unpaired). Goal 93 to 97; the heading has the standard error of a share of 95 %. Last:
how often at least one of six searches that are all this searcher is called ahead of one of them or
behind, with 5 seeds each: as the report's first section judges (goal: 5 at most), and by each
interval alone. "alike" is the correlation of the best reward with the first searcher's at the same
seed.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from searcher_curves import REFERENCES, REINFORCE, SMALL_EVOLUTION, composed, world

from nasrunner.core.ledger.ranking import Ranking
from nasrunner.report.comparison.progress import TOP_COUNTS
from nasrunner.report.comparison.statistics import Estimate, difference, verdicts

# S = searches, N = evaluations, B = budgets, C = counts of best children

SIZES = (5, 10)
NUM_SEARCHERS = 6
DEFAULT = ("random", SMALL_EVOLUTION, REINFORCE)

Values = Mapping[int, float]


class Arguments(argparse.Namespace):
    """What the command line says."""

    table: str
    searchers: list[str]
    searches: int
    pairs: int
    budgets: list[int]
    processes: int


def search(table: str, config: dict[str, Any], budgets: Sequence[int], seed: int) -> np.ndarray:
    """What one search has at the budgets: the mean of its best 1, 5 and 15 children, (B, C)."""
    torch.set_num_threads(1)
    here = world(table)
    searcher = here.searcher(config, seed)
    ranking = Ranking()
    tops_NC: list[list[float]] = []
    while len(tops_NC) < max(budgets):
        proposal = searcher.propose()
        if proposal is None:
            raise SystemExit(f"{table} has fewer than {max(budgets)} children for this searcher")
        outcome = here.trainer.lookup(proposal)
        assert outcome.reward is not None
        searcher.observe(outcome)
        ranking.add(outcome)
        means = (ranking.mean_of_best(count) for count in TOP_COUNTS)
        tops_NC.append([math.nan if mean is None else mean for mean in means])
    return np.array([tops_NC[budget - 1] for budget in budgets])


def pairs_of_groups(
    values_S: np.ndarray, size: int, num_pairs: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two groups of different searches each, so many times."""
    rng = np.random.default_rng(size)
    drawn = [rng.choice(len(values_S), 2 * size, replace=False) for _ in range(num_pairs)]
    return [(values_S[each[:size]], values_S[each[size:]]) for each in drawn]


def by_seed(values_S: np.ndarray, first_seed: int) -> Values:
    """Values as the report has them."""
    return dict(enumerate(values_S.tolist(), start=first_seed))


def coverage(values_S: np.ndarray, size: int, num_pairs: int, *, is_paired: bool) -> float:
    """Share of the intervals that hold 0."""
    found = [
        difference(by_seed(one, 0), by_seed(other, 0 if is_paired else size)).estimate
        for one, other in pairs_of_groups(values_S, size, num_pairs)
    ]
    return float(np.mean([not leaves_out_0(each) for each in found]))


def leaves_out_0(found: Estimate) -> bool:
    """Whether the interval does."""
    assert found.low is not None
    assert found.high is not None
    return found.low > 0 or found.high < 0


def called_different(values_S: np.ndarray, size: int, num_sweeps: int) -> tuple[float, float]:
    """How often sweeps of equal searchers show a difference: by verdicts, and by any interval."""
    rng = np.random.default_rng(size)
    verdict, interval = 0, 0
    for _ in range(num_sweeps):
        drawn = rng.choice(len(values_S), (NUM_SEARCHERS, size), replace=False)
        first, *others = (by_seed(values_S[each], 0) for each in drawn)
        found = [difference(other, first) for other in others]
        verdict += any(each.text in ("ahead", "behind") for each in verdicts(found))
        interval += any(leaves_out_0(each.estimate) for each in found)
    return verdict / num_sweeps, interval / num_sweeps


def report(name: str, values_SBC: np.ndarray, first_SBC: np.ndarray, arguments: Arguments) -> None:
    """Prints the rows of one searcher: one for each budget and size of groups."""
    for place, budget in enumerate(arguments.budgets):
        same_S, values_SC = first_SBC[:, place, 0], values_SBC[:, place]
        alike = float(np.corrcoef(same_S, values_SC[:, 0])[0, 1])
        for size in SIZES:
            row = [name, str(budget), str(size)]
            for is_paired in (True, False):
                for values_S in values_SC.T:
                    row.append(_percent(values_S, size, arguments.pairs, is_paired))
            row += [
                f"{100 * s:.1f}" for s in called_different(values_SC[:, 0], size, arguments.pairs)
            ]
            print(f"| {' | '.join([*row, f'{alike:.2f}'])} |", flush=True)


def _percent(values_S: np.ndarray, size: int, num_pairs: int, is_paired: bool) -> str:
    if not np.isfinite(values_S).all():  # a search has not got so many children yet
        return "–"
    return f"{100 * coverage(values_S, size, num_pairs, is_paired=is_paired):.1f}"


def main() -> None:
    """Runs the searches and prints the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=sorted(REFERENCES), required=True)
    parser.add_argument("--searchers", nargs="+", default=[*DEFAULT], help="default: %(default)s")
    parser.add_argument("--searches", type=int, default=400, help="of each searcher, 60 or more")
    parser.add_argument("--pairs", type=int, default=2000, help="of groups")
    parser.add_argument("--budgets", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(namespace=Arguments())
    world(arguments.table)  # before the processes are forked
    counts = ["best", *(f"best {count}" for count in TOP_COUNTS[1:])]
    columns = ["searcher", "evaluations", "seeds", *(f"{each}, paired" for each in counts)]
    columns += [f"{each}, unpaired" for each in counts]
    columns += ["sweeps with a verdict", "with an interval beside 0", "alike"]
    error = 100 * math.sqrt(0.95 * 0.05 / arguments.pairs)
    print(f"{arguments.table}: percent, ± {error:.1f}\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    first_SBC = None
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in arguments.searchers:
            config = composed(arguments.table, name)["searcher"]
            task = partial(search, arguments.table, config, arguments.budgets)
            found_SBC = np.stack(list(pool.map(task, range(arguments.searches), chunksize=10)))
            first_SBC = found_SBC if first_SBC is None else first_SBC
            report(name, found_SBC, first_SBC, arguments)


if __name__ == "__main__":
    main()
