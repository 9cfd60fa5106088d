"""What inherited weights do to rewards: their ranking, and the time that they save.

    OMP_NUM_THREADS=1 NASRUNNER_DATA=… python benchmarks/inherited_weights.py --processes 2
    OMP_NUM_THREADS=1 NASRUNNER_DATA=… python benchmarks/inherited_weights.py --ways last --seeds 2

Evolution searches MLPs (space=mlp) on 2,000 training images of MNIST with searcher=inheriting, once
for each way to inherit and each seed. Then all its architectures that began with weights of others
are trained from scratch, twice: with the seeds of their children, and with others. As markdown:

* Kendall's tau of the inherited rewards with those from scratch; beside it that of the two
  trainings from scratch, which is what a perfect ranking reaches at this noise;
* the same for cheaper rankings: rewards after fewer epochs, inherited and from scratch, with those
  of all epochs from scratch;
* by how much inherited rewards are higher after as many epochs, and what share of the epochs is
  left when a child has reached its reward from scratch (none where it never does);
* Kendall's tau of a child's gain with its number: weights that were trained for longer.

Each figure is the mean over seeds with its 95 % interval, by Student's t.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, t  # type: ignore[import-untyped]  # ships no types

from nasrunner.compose.launch import build_space, build_trainer
from nasrunner.compose.saved import saved_config
from nasrunner.core import Genotype, Proposal
from nasrunner.core.randomness.seeds import child_seed

METRIC = "val_accuracy"
EPOCHS = 10
CHEAP = (1, 2, 4)
WAYS = {
    "last": ("searcher.bank=last",),
    "best": ("searcher.bank=best",),
    "parent alone": ("searcher.max_sources=1",),
    "morphisms": ("searcher.bank=last", "searcher.morphism_share=1"),
}
STUDY = (
    *("searcher=inheriting", "space=mlp", "data=mnist", "tracker=none", "executor=serial"),
    *("searcher.searcher.population_size=10", "searcher.searcher.tournament_size=3"),
    # 2,000 images are left for training, and 4,096 of the others are looked at.
    *("data.validation_examples=58000", "data.eval_batch_size=2048"),
    *("trainer.limit_val_batches=2", "task.reward.reduce=last"),
    f"trainer.max_epochs={EPOCHS}",
)


@dataclass(frozen=True)
class Figures:
    """Of one search.

    Attributes:
        num: children that began with weights of others.
        inherited: what share of their parameters these were, on average.
        noise: tau of two trainings from scratch.
        tau: of inherited rewards with those from scratch, by the number of epochs.
        scratch_tau: the same of rewards from scratch.
        gain: in percent points, after as many epochs.
        saved: share of the epochs.
        drift: tau of the gain with a child's number.
    """

    num: int
    inherited: float
    noise: float
    tau: Mapping[int, float]
    scratch_tau: Mapping[int, float]
    gain: float
    saved: float
    drift: float


def searched(way: str, seed: int, children: int) -> Figures:
    """Runs one search, trains its architectures from scratch, and compares."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = (*STUDY, *WAYS[way], f"seed={seed}", f"max_children={children}")
        command = [sys.executable, "-m", "nasrunner", *overrides]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        (ledger,) = Path(folder).glob("outputs/*/*/ledger.jsonl")
        figures = compared(ledger, seed, Path(folder) / "scratch")
    print(f"{way}, seed {seed}: {figures}", file=sys.stderr, flush=True)
    return figures


def compared(ledger: Path, seed: int, folder: Path) -> Figures:
    """Compares the children of a study with the same architectures from scratch."""
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    proposed = {e["index"]: e for e in events if e["event"] == "proposed"}
    ended = {
        e["index"]: e
        for e in events
        if e["event"] == "outcome" and e["metrics"].get("inherited_tensors", 0) > 0
    }
    first = {json.dumps(proposed[index]["genotype"]): index for index in reversed(ended)}
    children = sorted(first.values())  # of an architecture the first that inherited
    genotypes = [proposed[index]["genotype"] for index in children]
    inherited_NE = curves([ended[index]["curve"][METRIC] for index in children])
    scratch = [from_scratch(ledger.parent, folder, genotypes, seed, times) for times in (0, 1)]
    last = scratch[0][:, -1]
    gain = inherited_NE[:, -1] - last
    reached = inherited_NE >= last[:, None]
    needed = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, EPOCHS)
    return Figures(
        len(children),
        statistics.fmean(ended[index]["metrics"]["inherited_share"] for index in children),
        tau(scratch[1][:, -1], last),
        {
            epochs: tau(inherited_NE[:, epochs - 1], scratch[1][:, -1])
            for epochs in (*CHEAP, EPOCHS)
        },
        {epochs: tau(scratch[0][:, epochs - 1], scratch[1][:, -1]) for epochs in CHEAP},
        100 * float(gain.mean()),
        float(1 - needed.mean() / EPOCHS),
        tau(gain, np.array(children)),
    )


def from_scratch(
    study: Path, folder: Path, genotypes: Sequence[Genotype], seed: int, times: int
) -> np.ndarray:
    """The curves of architectures that are trained without weights of others, (N, E)."""
    config = saved_config(study)
    trainer = build_trainer(config, build_space(config))
    task = trainer.task(folder / str(times), seed)
    found = []
    for index, genotype in enumerate(genotypes):
        proposal = Proposal(index, genotype, seed=child_seed(seed, genotype, times))
        (outcome,) = task([proposal])
        assert outcome.status == "completed", outcome.error
        found.append(outcome.curve[METRIC])
    return curves(found)


def curves(found: Sequence[Sequence[float]]) -> np.ndarray:
    """Learning curves as rows."""
    return np.array([list(curve) for curve in found])


def tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b."""
    return float(kendalltau(first, second).statistic)


def interval(values: Sequence[float], digits: int = 2) -> str:
    """The mean and its 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    """Runs the searches, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--children", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    runs = [(way, seed, given.children) for way in given.ways for seed in range(given.seeds)]
    with ProcessPoolExecutor(given.processes) as pool:
        found = list(pool.map(searched, *zip(*runs, strict=True)))
    every = (*CHEAP, EPOCHS)
    print(f"{given.seeds} seeds, {given.children} children, {EPOCHS} epochs\n")
    taus = " | ".join(f"tau after {epochs}" for epochs in every)
    print(f"| inherits | children | share | {taus} | gain, points | epochs saved | drift |")
    print("|---" * (6 + len(every)) + "|")
    for way in given.ways:
        own = [each for each, run in zip(found, runs, strict=True) if run[0] == way]
        cells = [
            interval([each.num for each in own], 0),
            interval([each.inherited for each in own]),
            *(interval([each.tau[epochs] for each in own]) for epochs in every),
            interval([each.gain for each in own]),
            interval([each.saved for each in own]),
            interval([each.drift for each in own]),
        ]
        print(f"| {way} | {' | '.join(cells)} |")
        cells = [interval([each.scratch_tau[epochs] for each in own]) for epochs in CHEAP]
        noise = interval([each.noise for each in own])
        print(f"| the same from scratch | | 0 | {' | '.join(cells)} | {noise} | 0 | 0 | |")


if __name__ == "__main__":
    main()
