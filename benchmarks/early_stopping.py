"""Part of a training instead of all of it: epochs saved, and the best children lost by it.

    NASRUNNER_DATA=… python benchmarks/early_stopping.py --pool 300 --kept outputs/curves

First a pool of random architectures is trained, each through all epochs: MLPs (conf/space/mlp.yaml)
or, with ``--world cnn``, small CNNs of images scaled to 14 x 14, on 2,002 images of MNIST; their
curves are kept in --kept. Then each searcher draws from the pool, whose curves are played on a
virtual cluster of 1, 2, 8 and 32 workers: the same children in the same order for all searchers of
a seed, through the study loop that ships, an epoch taking a second. --searchers and --workers take
some of them, beside random search. A training that is paused and gone on with has the curve of one
that is trained through (tests/children/progress), so that a recorded curve tells what each would
have measured.

Over seeds, with a 95 % interval of the mean by Student's t: the share of the epochs that were saved
beside training each child of the search through; the searches in which the child that would have
been best was not trained to its end ("lost"); the children that were not although each of them
would have been better than the best that was found ("better"); what share of the best tenth was
not; and the regret, the reward of the child that would have been best less the best that was found,
in percent points.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from children import CONFIG, configured, drawn, shipped_space, trainer_of
from children import run as train
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy.stats import t  # type: ignore[import-untyped]  # ships no types

from nasrunner.compose.construct import construct
from nasrunner.core import (
    Blueprint,
    Genotype,
    Hear,
    Kind,
    Outcome,
    Policy,
    Proposal,
    StudyInfo,
    Train,
)
from nasrunner.core.ports import Check
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.executors.simulated import SimulatedExecutor
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules

# P = pool, E = epochs, S = seeds

METRIC = "val_accuracy"
WORKERS = (1, 2, 8, 32)
SEARCHERS = (
    "random",
    "median_stopping",
    "asha_stopping",
    "extrapolation",
    "asha",
    "successive_halving",
    "hyperband",
)
SPACES = {"mlp": "mlp", "cnn": "small_cnn"}
OVERRIDES = {"mlp": (), "cnn": ("data.resolution=14",)}
ON_MNIST = (
    "data.train_share=0.0364",  # 2,002 of 55,000 images; 5,000 others for validation
    "trainer.checkpoint=none",
    "trainer.checkpoint_every_s=null",
    "optimizer.lr=0.001",
)


def curve_of(name: str, epochs: int, kept: Path, seed: int) -> list[float]:
    """The validation accuracies of a random architecture, trained unless it was before."""
    path = kept / f"{seed:04d}.json"
    if not path.is_file():
        torch.set_num_threads(1)
        overrides = (*ON_MNIST, *OVERRIDES[name], f"trainer.max_epochs={epochs}")
        config = configured(*overrides, data="mnist", optimizer="adam")
        space = shipped_space(SPACES[name], config["data"]["num_outputs"])
        with tempfile.TemporaryDirectory() as folder:
            task = trainer_of(space, config).task(Path(folder), 0)
            outcome = train(task, drawn(space, seed))
        path.write_text(json.dumps(list(outcome.curve[METRIC])))
    curve: list[float] = json.loads(path.read_text())
    return curve


@dataclass
class Played:
    """Answers with the beginnings of recorded curves, an epoch taking a second.

    Attributes:
        curves_PE: of the pool.
        ended: proposal -> after how many epochs it was paused, stopped or over.
    """

    curves_PE: np.ndarray
    ended: dict[int, int] = field(default_factory=dict)

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            (place,) = proposal.genotype.values()
            whole_E = self.curves_PE[place]
            end = len(whole_E) if proposal.until is None else min(proposal.until, len(whole_E))
            begin = 0 if proposal.continues is None else self.ended[proposal.continues]
            self.ended[proposal.index] = end
            curve = whole_E[:end].tolist()
            yield Outcome(
                proposal,
                "completed" if end == len(whole_E) else "paused",
                max(curve),
                {METRIC: curve[-1], "epochs": float(end)},
                cost_s=float(end - begin),
                curve={METRIC: curve},
            )


@dataclass
class PlayingTrainer:
    """Children of a space of one decision: which of a pool of curves is played."""

    curves_PE: np.ndarray
    reports = True
    estimates: Collection[str] = ()
    trains_networks = False

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}

    def inspect(self, genotype: Genotype) -> Blueprint:
        return Blueprint(str(genotype), dict(genotype), None, None)

    def rehearsal(self) -> Check:
        return list

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        pass

    def check(self, proposal: Proposal) -> None:
        pass

    def plainest(self, proposal: Proposal) -> Proposal:
        return proposal

    def most_epochs(self, proposal: Proposal) -> int | None:
        return int(self.curves_PE.shape[1])

    def num_at_once(self, kind: Kind) -> int:
        return 1

    def task(
        self, folder: Path, seed: int, policy: Policy | Relaxation | ForwardGrowth | None = None
    ) -> Train:
        return Played(self.curves_PE)


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        epochs: that it has trained.
        num_children: that it has begun.
        is_lost: whether the child that would have been best was not trained to its end.
        num_better: children not trained to their ends that would have been better than the best
            found.
        stopped_of_best: share of the best tenth of its children, by whole curves, that were not
            trained to their ends.
        regret: the reward that it would have had less the best found; nan where nothing was found.
        wall_s: virtual seconds of the whole search.
    """

    epochs: float
    num_children: int
    is_lost: bool
    num_better: int
    stopped_of_best: float
    regret: float
    wall_s: float


def search(curves_PE: np.ndarray, children: int, name: str, workers: int, seed: int) -> Found:
    """Plays one search."""
    pool_size, epochs = curves_PE.shape
    overrides = [f"+searcher={name}", f"+trainer={{max_epochs: {epochs}}}"]
    overrides.append(f"+task={{reward: {{metric: {METRIC}, mode: max}}}}")
    config: dict[str, Any] = configured_searcher(overrides)
    space = parse_space({"concat": [{"affine": {"units": {"range": [1, pool_size, 1]}}}]})
    executor = SimulatedExecutor(
        workers=workers,
        median_s=None,
        spread=0.0,
        failed_share=0.0,
        deaths_per_hour=0.0,
        checkpoint_every_s=1.0,
        restart_s=0.0,
        retries=0,
        driver_speed=0.0,
        seed=seed,
    )
    rules = Rules(
        seed=seed,
        max_children=children,
        max_hours=None,
        target_reward=None,
        max_failures=None,
        max_fruitless=None,
        duplicates="resample",
        failed_reward="ignore",
        max_parameters=None,
        max_flops=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        study = Study(
            space=space,
            searcher=construct(config, "searcher", space=space, seed=seed),
            trainer=PlayingTrainer(curves_PE),
            executor=executor,
            trackers=[],
            ledger=ledger,
            rules=rules,
            info=StudyInfo("played", Path(folder), {}, children),
        )
        with contextlib.closing(ledger):
            study.run()
    outcomes = study.history.outcomes
    begun = {next(iter(each.proposal.genotype.values())) for each in outcomes}
    full = [each for each in outcomes if each.is_full and each.reused_from is None]
    ended = {next(iter(each.proposal.genotype.values())) for each in full}
    rewards = {place: float(curves_PE[place].max()) for place in begun}
    best = sorted(rewards, key=rewards.__getitem__, reverse=True)
    tenth = best[: max(1, len(best) // 10)]
    found = max((each.known_reward for each in full), default=np.nan)
    better = sum(not found >= rewards[place] for place in begun - ended)
    used = executor.utilisation()
    spent = sum(outcome.cost_s for outcome in outcomes)
    return Found(
        epochs=spent,
        num_children=len(begun),
        is_lost=not found >= rewards[best[0]],
        num_better=better,
        stopped_of_best=sum(place not in ended for place in tenth) / len(tenth),
        regret=rewards[best[0]] - found,
        wall_s=used.clock_s,
    )


def configured_searcher(overrides: Sequence[str]) -> dict[str, Any]:
    """The shipped configuration of a searcher."""
    with initialize_config_dir(str(CONFIG.resolve()), version_base="1.3"):
        config = compose(overrides=list(overrides))
    plain: Any = OmegaConf.to_container(config, resolve=True)
    searcher: dict[str, Any] = plain["searcher"]
    return searcher


def shown(values: Sequence[float], scale: float, digits: int) -> str:
    """The mean of values and half its 95 % interval."""
    array = scale * np.array([value for value in values if not np.isnan(value)])
    if len(array) < 2:
        return "–"
    half = t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return f"{array.mean():.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    """Trains the pool, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", choices=SPACES, default="mlp")
    parser.add_argument("--pool", type=int, default=300, help="architectures that are trained")
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--children", type=int, default=81, help="that a search begins")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=list(SEARCHERS))
    parser.add_argument("--workers", nargs="+", type=int, default=list(WORKERS))
    parser.add_argument("--kept", type=Path, required=True, help="folder of curves")
    arguments = parser.parse_args()
    kept = arguments.kept / f"{arguments.world}-{arguments.epochs}"
    kept.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.processes) as processes:
        curved = partial(curve_of, arguments.world, arguments.epochs, kept)
        curves_PE = np.array(list(processes.map(curved, range(arguments.pool))))
        finals_P = curves_PE.max(axis=1)
        print(
            f"{arguments.world}: {len(curves_PE)} curves of {arguments.epochs} epochs, rewards "
            f"{100 * finals_P.min():.2f} to {100 * finals_P.max():.2f} %\n\n"
            "| searcher | workers | epochs saved, % | lost, % of searches | better | "
            "of the best tenth, % | regret, points | time / of random search |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for workers in arguments.workers:
            times: dict[str, float] = {}
            for name in dict.fromkeys(("random", *arguments.searchers)):
                played = partial(search, curves_PE, arguments.children, name, workers)
                found = list(processes.map(played, range(arguments.seeds)))
                saved = [1 - f.epochs / (f.num_children * arguments.epochs) for f in found]
                times[name] = float(np.mean([each.wall_s for each in found]))
                print(
                    f"| {name} | {workers} | {shown(saved, 100, 1)} | "
                    f"{100 * np.mean([each.is_lost for each in found]):.0f} | "
                    f"{shown([each.num_better for each in found], 1, 1)} | "
                    f"{shown([each.stopped_of_best for each in found], 100, 0)} | "
                    f"{shown([each.regret for each in found], 100, 2)} | "
                    f"{times[name] / times['random']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
