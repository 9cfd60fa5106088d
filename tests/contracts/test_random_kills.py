"""kill -9 at random moments of real studies of every searcher, which then end as if undisturbed.

    NASRUNNER_KILLS=20 python -m pytest -m slow tests/contracts/test_random_kills.py

kills all of them so often; by default some of them, and less. ``NASRUNNER_KILLS_SEED`` draws other
moments, and what fails says which it was.
"""

import dataclasses
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.core.machine.child_folder import CURVES, LAST, LOG, OUTCOME, ChildFolder
from nasrunner.study.ledger import read_events
from tests.contracts.killing import Sessions
from tests.sampling import one_in
from tests.searchers.worlds import (
    GROWING,
    HURRY,
    OF_DEPTH,
    OF_HYPERPARAMETERS,
    SEARCHERS,
    STOPPING,
)

KILLS = int(os.environ.get("NASRUNNER_KILLS", "2"))
IS_FULL = "NASRUNNER_KILLS" in os.environ
SEED = os.environ.get("NASRUNNER_KILLS_SEED", "0")

PLAIN = {"trainer.max_epochs": 3, "max_children": 10}
IN_PARTS = {"trainer.max_epochs": 9, "max_children": 9}
MIXED = {"space": {"concat": [{"or": ["relu", "tanh"]}, {"affine": {"units": 10}}]}}
TWO_GOALS = {"objectives": {"val_accuracy": "max", "parameters": "min"}}
OWN: dict[str, dict[str, Any]] = {
    "asha": IN_PARTS,
    "asha_stopping": IN_PARTS,
    "darts": {**MIXED, "searcher.supernet": {"trainer.max_epochs": 9}},
    "extrapolation": IN_PARTS,
    "filter": {"trainer.proxies": ["synflow"], "max_children": 6},
    "gdas": {**MIXED, "searcher.supernet": {"trainer.max_epochs": 9}},
    "hyperband": {"trainer.max_epochs": 4},
    "median_stopping": {**IN_PARTS, "searcher.min_children": 2, "searcher.min_epochs": 2},
    "motpe": TWO_GOALS,
    "nsga2": TWO_GOALS,
    "pbt": {
        "trainer.max_epochs": 8,
        "searcher.interval": 2,
        "searcher.max_epochs": 8,
        "searcher.population_size": 5,
        "space.hyperparameters": {"optimizer.lr": {"logspace": [1e-4, 1e-1, 16]}},
    },
    "petridish": {"max_children": 4},
    "successive_halving": IN_PARTS,
}
"""What a searcher's study is beside ``PLAIN``."""

MORE: dict[str, tuple[list[str], dict[str, Any]]] = {
    "asha_inheriting": (
        [
            *("searcher=asha", "searcher@searcher.searcher=inheriting"),
            "searcher@searcher.searcher.searcher=evolution",
        ],
        {
            **IN_PARTS,
            "searcher.searcher.searcher.population_size": 3,
            "searcher.searcher.searcher.tournament_size": 2,
        },
    ),
    "asha_keeps_all": (["searcher=asha"], {**IN_PARTS, "trainer.checkpoint": "all"}),
    "asha_keeps_none": (["searcher=asha"], {**IN_PARTS, "keep_weights": "none"}),
    "baseline": (["searcher=evolution", "baseline=random"], {"max_children": 5}),
    "evolution_keeps_all": (["searcher=evolution"], {"trainer.checkpoint": "all"}),
    "morphing": (
        ["searcher=inheriting"],
        {"searcher.morphism_share": 1.0, "searcher.searcher.population_size": 3},
    ),
    "packed": (["searcher=evolution"], {"pack_children_above": 3}),
    "repeats": (["searcher=evolution"], {"evaluation.repeats": 2, "max_children": 6}),
    "stopping_promotions": (
        ["searcher=median_stopping", "searcher@searcher.searcher=asha"],
        {
            **IN_PARTS,
            "searcher.min_children": 1,
            "searcher.searcher.rungs": [2, 4],
            "searcher.searcher.eta": 2,
            "searcher.searcher.max_epochs": 9,
        },
    ),
}
"""Searchers around one another, and what else a study may do with what is trained."""

ALL = [*SEARCHERS, *GROWING, *OF_HYPERPARAMETERS, *OF_DEPTH, *MORE]
SOME = [
    "asha_keeps_all",
    "baseline",
    "evolution_keeps_all",
    "filter",
    "hyperband",
    "morphing",
    "pbt",
    "predicted",
    "repeats",
    "stopping_promotions",
    "tpe",
]
NAMES = ALL if IS_FULL else SOME
ON_WORKERS = ALL if IS_FULL else ["pbt"]
LISTENING = (*STOPPING, "stopping_promotions")
"""Who stops children. The virtual cluster has trained them by then, and trains their beginnings."""

VIRTUAL = ALL if IS_FULL else ["asha_keeps_none"]
EXECUTORS = [*((name, "serial") for name in NAMES), *((name, "simulated") for name in VIRTUAL)]

CLOCKS = ("time", "monotonic_s", "cost_s")
ENDED = "after its end"


@pytest.fixture(scope="module")
def sessions() -> Iterator[Sessions]:
    with Sessions() as made:
        yield made


def configured(name: str, executor: str) -> dict[str, Any]:
    skeleton.register()
    groups, changes = MORE.get(name, ([f"searcher={name}"], OWN.get(name, {})))
    overrides = [*groups, f"executor={executor}", "study=test", "tracker=none"]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        config = compose("config", overrides=overrides)
    OmegaConf.set_struct(config, False)
    searcher = groups[0].partition("=")[2]
    config.searcher = OmegaConf.merge(config.searcher, HURRY.get(searcher, {}))
    if name == "gp":
        config.searcher.sampler._target_ = "optuna.samplers.GPSampler"
    own = {
        "trainer.accelerator": "cpu",
        "trainer.checkpoint_every_s": 0,
        "data.train_share": 0.1,
        **PLAIN,
        **changes,
    }
    if executor == "local":
        own["executor.workers"] = 2
    if executor == "simulated":  # one worker: who ends first among several may be another
        own |= {"executor.workers": 1, "executor.median_s": 100.0, "executor.driver_speed": 0.0}
    for key, value in own.items():
        OmegaConf.update(config, key, value, force_add=True, merge=key != "space")
    plain = OmegaConf.to_container(config, resolve=True)
    return {**plain, "baseline": plain["baseline"] or None}


def told(folder: Path) -> list[dict[str, Any]]:
    """The events of a ledger, but for the sessions, without what no two runs have alike."""
    found, _ = read_events(folder / "ledger.jsonl")
    return [
        {key: value for key, value in event.items() if key not in CLOCKS}
        for event in found
        if event["event"] not in ("resumed", "ended")  # killed after its end it ends again
    ]


def files(folder: Path, *, with_logs: bool = True) -> list[str]:
    """What lies in a study's folder, but for what is saved every so many seconds."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "searcher.pkl")
    return sorted(str(each.relative_to(folder)) for each in found if with_logs or each.name != LOG)


Trained = dict[tuple[int, int], float]
"""(child, epoch) -> when it was trained, of all epochs that stand in the children's curves."""


def trained(folder: Path) -> Trained:
    """The epochs that children have trained themselves, not those of what they go on with."""
    found: Trained = {}
    known: set[float] = set()
    for path in sorted(folder.glob("children/*")):
        for line in ChildFolder(path).curves() if (path / CURVES).exists() else ():
            if line["time"] not in known and "train_loss" in line:
                found[int(path.name), int(line["epoch"])] = line["time"]
            known.add(line["time"])
    return found


def assert_none_twice(before: Trained, after: Trained, folder: Path, num_slots: int) -> None:
    """Checks that of what was trained no more than the latest epoch was trained once more."""
    again = [key for key, time_s in before.items() if after.get(key) != time_s]
    latest = {child: epoch for child, epoch in sorted(before)}
    assert len(again) <= num_slots, again
    assert all(latest[child] == epoch for child, epoch in again), again


def phase(folder: Path) -> str:
    """Where a study was killed, as its files tell."""
    path = folder / "ledger.jsonl"
    if not path.is_file() or not path.read_bytes():
        return "before its first event"
    found, end = read_events(path)
    if end < path.stat().st_size:
        return "within a line of the ledger"
    if list(folder.rglob("*.unfinished")):
        return "while a file was written"
    ended = {event["index"] for event in found if event["event"] == "outcome"}
    flying = [e for e in found if e["event"] == "proposed" and e["index"] not in ended]
    if found[-1]["event"] == "ended":
        return ENDED
    if not flying:
        return "between two children"
    child = ChildFolder.of(folder, flying[0]["index"])
    if child.holds(OUTCOME):
        return "between a child's outcome and the ledger's"
    if list(child.path.rglob(LAST)):
        return "in training, with a checkpoint"
    goes_on = any(each["what"] == "training" for each in flying[0].get("sources", ()))
    return "between a pause and the next epoch" if goes_on else "in a child's first epoch"


@dataclasses.dataclass
class Kills:
    """Kills studies of one configuration again and again.

    Attributes:
        num_slots: children that run at a time; None: some are trained twice undisturbed, too.
        counts: where they were killed; a study that had ended is not counted.
    """

    sessions: Sessions
    config: dict[str, Any]
    rng: random.Random
    mean_s: float
    num_slots: int | None
    counts: Counter[str] = dataclasses.field(default_factory=Counter)

    def until_its_end(self, folder: Path) -> None:
        """Begins a study, which is killed until the last of ``KILLS``, and goes on to its end."""
        before: Trained = {}
        while True:
            is_last = self.counts.total() >= KILLS
            after_s = None if is_last else self.rng.uniform(0, 2 * self.mean_s)
            session = self.sessions.run(self.config, folder, after_s)
            after = trained(folder)
            if self.num_slots is not None:
                assert_none_twice(before, after, folder, self.num_slots)
            before = after
            if not session.is_killed:
                break
            if (where := phase(folder)) != ENDED:
                self.counts[where] += 1
        assert session.code == 0, Path(f"{folder}.txt").read_text()[-3000:]


@pytest.fixture(autouse=True)
def tells_seed() -> None:
    """Says what repeats a test that fails."""
    sys.stdout.write(f"NASRUNNER_KILLS={KILLS} NASRUNNER_KILLS_SEED={SEED}\n")


def whole_and_kills(
    tmp_path: Path, sessions: Sessions, name: str, executor: str, num_slots: int | None
) -> tuple[Path, Kills]:
    """A study that nothing disturbs, and what kills others of the same configuration."""
    config = configured(name, executor)
    whole = sessions.run(config, tmp_path / "whole")
    assert whole.code == 0, (tmp_path / "whole.txt").read_text()[-3000:]
    rng = random.Random(f"{name} {executor} {SEED}")
    mean_s = whole.loop_s / min(KILLS + 1, 8)
    return tmp_path / "whole", Kills(sessions, config, rng, mean_s, num_slots)


def tell_where(kills: Kills) -> None:
    """Says where studies were killed."""
    places = ", ".join(f"{where}: {count}" for where, count in kills.counts.items())
    sys.stdout.write(f"killed {places}\n")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@one_in(2, 1, ("name", "executor"), EXECUTORS, rest=pytest.mark.matrix)
def test_a_study_killed_at_random_moments_is_the_one_that_was_not(
    tmp_path: Path, sessions: Sessions, name: str, executor: str
) -> None:
    is_trained_twice = executor == "simulated" and name in LISTENING
    num_slots = None if is_trained_twice else 1
    whole, kills = whole_and_kills(tmp_path, sessions, name, executor, num_slots)
    if name in LISTENING:
        assert "stopped" in {event.get("status") for event in told(whole)}
    number = 0
    while kills.counts.total() < KILLS:
        number += 1
        kills.until_its_end(tmp_path / f"{number}")
        assert told(tmp_path / f"{number}") == told(whole)
        # A child killed in its beginning, trained anew, says that it does not go on with that.
        has_logs = not is_trained_twice
        found = files(tmp_path / f"{number}", with_logs=has_logs)
        assert found == files(whole, with_logs=has_logs)
    tell_where(kills)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ON_WORKERS)
def test_nothing_is_lost_or_trained_twice_where_workers_are_killed(
    tmp_path: Path, sessions: Sessions, name: str
) -> None:
    _, kills = whole_and_kills(tmp_path, sessions, name, "local", 2)
    number = 0
    while kills.counts.total() < KILLS:
        number += 1
        folder = tmp_path / f"{number}"
        kills.until_its_end(folder)
        events, _ = read_events(folder / "ledger.jsonl")
        proposed = [event["index"] for event in events if event["event"] == "proposed"]
        ended = [event["index"] for event in events if event["event"] == "outcome"]
        assert proposed == list(range(len(proposed)))
        assert sorted(ended) == proposed
        assert not list(folder.rglob("*.unfinished"))
    tell_where(kills)
