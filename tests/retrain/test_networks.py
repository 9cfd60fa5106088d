import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nasrunner.core import ConfigError, NasRunnerError, OneByOne, Outcome, Proposal
from nasrunner.retrain.networks import Network, Retraining, RetrainJob
from nasrunner.retrain.results import Results, Spread, row_of
from nasrunner.retrain.retrain_folder import RetrainFolder
from tests.toys import ToyExecutor


@dataclass
class Trains:
    """Leaves in a network's folder what its training would, and counts."""

    folder: Path
    failing: Callable[[Proposal], bool] = lambda proposal: False
    trained: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, proposal: Proposal) -> Outcome:
        repetition = int(proposal.notes["repetition"])
        self.trained.append((proposal.index, repetition))
        if self.failing(proposal):
            return Outcome(proposal, "failed", error="ZeroDivisionError: made to fail")
        accuracy = proposal.index / 10 + repetition / 100
        outcome = Outcome(proposal, "completed", None, {"epochs": 3.0}, cost_s=1.0)
        folder = self.folder / f"{proposal.index:04d}-seed{repetition}"
        folder.mkdir(exist_ok=True)
        tested = {"time": 1.0, "examples": 60, "metrics": {"test_accuracy": accuracy}}
        for name, record in (
            ("proposal.json", proposal.to_json()),
            ("tested.json", tested),
            ("outcome.json", outcome.to_json()),
        ):
            (folder / name).write_text(json.dumps(record))
        return outcome


def jobs(train: Trains, indices: tuple[int, ...] = (3, 5), seeds: int = 2) -> list[RetrainJob]:
    return [
        RetrainJob(
            f"{index:04d}",
            Proposal(index, {"0/x": index}, notes={"repetition": seed}),
            OneByOne(train),
        )
        for index in indices
        for seed in range(seeds)
    ]


def retrain(train: Trains, asked: list[RetrainJob], slots: int = 2, seed: int = 0) -> Retraining:
    retraining = Retraining(asked, train.folder, lambda network: None)
    retraining.run(ToyExecutor(slots=slots, seed=seed))
    return retraining


@pytest.mark.parametrize("seed", range(4))
def test_every_network_is_trained_once_and_its_test_is_its_own(tmp_path: Path, seed: int) -> None:
    train = Trains(tmp_path)
    retraining = retrain(train, jobs(train), slots=3, seed=seed)
    assert sorted(train.trained) == [(3, 0), (3, 1), (5, 0), (5, 1)]
    for job, network in retraining.networks.items():
        assert network.tested is not None
        expected = job.proposal.index / 10 + job.repetition / 100
        assert network.tested["metrics"]["test_accuracy"] == expected


def test_what_is_done_is_not_done_again_and_more_is_added(tmp_path: Path) -> None:
    train = Trains(tmp_path)
    retrain(train, jobs(train))
    train.trained.clear()
    retraining = retrain(train, jobs(train, indices=(3, 5, 6), seeds=3))
    assert sorted(train.trained) == [(3, 2), (5, 2), (6, 0), (6, 1), (6, 2)]
    assert len(retraining.networks) == 9


@pytest.mark.parametrize("name", ["outcome.json", "tested.json", "proposal.json"])
def test_a_network_without_the_record_of_all_of_it_is_trained_anew(
    tmp_path: Path, name: str
) -> None:
    train = Trains(tmp_path)
    retrain(train, jobs(train))
    train.trained.clear()
    (tmp_path / "0005-seed1" / name).write_text('{"cut')
    retrain(train, jobs(train))
    assert train.trained == [(5, 1)]


def test_a_network_that_failed_is_tried_again(tmp_path: Path) -> None:
    train = Trains(tmp_path, failing=lambda proposal: proposal.index == 3)
    retraining = retrain(train, jobs(train))
    failed = [job.name for job, each in retraining.networks.items() if each.tested is None]
    assert failed == ["0003", "0003"]
    train.trained.clear()
    train.failing = lambda proposal: False
    retrain(train, jobs(train))
    assert sorted(train.trained) == [(3, 0), (3, 1)]


def test_a_stop_lets_what_runs_end_and_starts_nothing_more(tmp_path: Path) -> None:
    train = Trains(tmp_path)
    retraining = Retraining(jobs(train), tmp_path, lambda network: retraining.stop("asked"))
    retraining.run(ToyExecutor(slots=2))
    assert sorted(train.trained) == [(3, 0), (3, 1)]
    assert retraining.stop_reason == "asked"


def results(folder: Path, networks: list[Network]) -> Results:
    rows = [
        row_of(name, "affine(8)", 1234, 0.5, [each for each in networks if each.job.name == name])
        for name in dict.fromkeys(each.job.name for each in networks)
    ]
    return Results("study", folder, "train", 0, "test_accuracy", rows, networks, False)


def test_mean_and_sample_standard_deviation_by_hand() -> None:
    spread = Spread.of([0.90, 0.94, 0.98])
    assert spread.mean == pytest.approx(0.94)
    assert spread.sd == pytest.approx(0.04)  # sqrt((0.04^2 + 0 + 0.04^2) / 2)
    assert spread.text() == "0.9400 ± 0.0400"
    assert Spread.of([0.5]).text() == "0.5000"


def test_the_results_hold_every_network_and_failed_ones_are_no_part_of_the_mean(
    tmp_path: Path,
) -> None:
    train = Trains(tmp_path, failing=lambda proposal: proposal.notes["repetition"] == 2)
    retraining = retrain(train, jobs(train, seeds=3))
    found = results(tmp_path, list(retraining.networks.values()))
    found.write()
    record = json.loads((tmp_path / "retrain.json").read_text())
    first, second = sorted(record["architectures"], key=lambda each: each["name"])
    assert first["metrics"]["test_accuracy"]["mean"] == pytest.approx(0.305)
    assert first["metrics"]["test_accuracy"]["sd"] == pytest.approx(0.01 / 2**0.5)
    assert (second["name"], second["num_failed"]) == ("0005", 1)
    header, *lines = (tmp_path / "retrain.csv").read_text().splitlines()
    assert header.startswith("name,repetition,seed,folder,status,")
    assert len(lines) == 6
    assert sum(",failed," in line for line in lines) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"'on': train\nseed: 0\ndata", "could not find|is cut off"),
        (b"'on': train\nseed: 0", "it is cut off"),
        (b"\xf9\x00", "can't decode byte"),
    ],
)
def test_damaged_settings_of_a_retraining_are_told(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "retrain.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"retrain.yaml is damaged: .*({reason})"):
        RetrainFolder(tmp_path).check({"on": "train"})


def test_a_folder_is_for_one_retraining_at_a_time(tmp_path: Path) -> None:
    place = RetrainFolder(tmp_path / "networks")
    message = "is in use: its networks are still being trained"
    with place.locked(), pytest.raises(NasRunnerError, match=message), place.locked():
        pass
    assert not place.folder.exists()


@pytest.mark.parametrize("name", ["retrain.json", "retrain.csv", "grid", "0007-seed0"])
def test_a_folder_with_files_of_another_is_no_place_for_networks(tmp_path: Path, name: str) -> None:
    place = RetrainFolder(tmp_path)
    (tmp_path / "notes.txt").touch()
    place.check({"seed": 1})
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=rf"holds {name}, but no retrain.yaml of a retraining"):
        place.check({"seed": 1})
    place.save({"seed": 1})
    place.check({"seed": 1})
