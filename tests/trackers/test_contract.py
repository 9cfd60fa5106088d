"""What every tracker must do, wherever it records: those in conf/, and the terminal."""

import csv
import io
import itertools
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import OmegaConf
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata

from nasrunner.compose import config as skeleton
from nasrunner.compose.construct import construct
from nasrunner.compose.trackers import files_of, shipped_records, trackers_in
from nasrunner.core import Blueprint, Genotype, Outcome, Proposal, SpaceError, Tracker
from nasrunner.core.tracking import PublicTracker, RetrainedNetwork
from nasrunner.trackers.progress import ProgressDisplay
from nasrunner.trackers.wandb import WandbTracker
from tests.trackers import lineages
from tests.trackers.fakes import FAILED, INVALID, REUSED, FakeStudy
from tests.trackers.lineages import FAILED_ESTIMATE
from tests.trackers.offline import WandbRun, read_offline

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONF = Path(__file__).parents[2] / "conf"
FOUND = sorted(path.stem for path in (CONF / "tracker").glob("*.yaml"))
TERMINAL = "terminal"
NUM_CHILDREN = 12
DUPLICATE = 9

Recorded = dict[int, list[str]]
"""Child index -> the status of every record that there is of it."""


class Study(FakeStudy):
    """The fake study, in which one child is a duplicate, too."""

    def outcome(self, index: int) -> Outcome:
        if index == DUPLICATE:
            return Outcome(self.proposal(index), "duplicate", reused_from=2)
        return super().outcome(index)


def all_recorded(study: FakeStudy) -> Recorded:
    return {outcome.proposal.index: [outcome.status] for outcome in study.outcomes}


@dataclass
class Case:
    """A tracker on trial.

    Attributes:
        name: its option in conf/tracker, or the terminal.
        root: everything it writes is below.
        changes: of its settings.
    """

    name: str
    root: Path
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.study: FakeStudy = Study(self.root / "fake" / "2026")
        self.screen = io.StringIO()

    @property
    def config(self) -> dict[str, Any]:
        """The option's, where everything that is written is below ``root``."""
        skeleton.register()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("config", overrides=[f"tracker={self.name}", "study=fake"])
        config: Any = OmegaConf.to_container(composed.tracker, resolve=True)
        for _, settings in trackers_in(config):
            own = {"tracking_uri": self.uri, "experiment": "fake", "mode": "offline"}
            own |= self.changes
            settings.update({key: own[key] for key in own.keys() & settings.keys()})
        return config

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.root}/mlflow.db"

    def build(self) -> Tracker:
        if self.name == TERMINAL:
            return ProgressDisplay(None, Console(file=self.screen, width=100))
        tracker: PublicTracker = construct(self.config, "tracker")
        return tracker

    def opened(self) -> Tracker:
        tracker = self.build()
        tracker.open(self.study.info, self.study.replay(), self.study.inspect)
        return tracker

    def read(self) -> Recorded | None:
        """All that is recorded; None: the tracker records nothing."""
        return READ[self.name](self)


def of_mlflow(case: Case) -> Recorded:
    found: Recorded = {}
    client = MlflowClient(case.uri)
    experiment = client.get_experiment_by_name("fake")
    runs = client.search_runs([experiment.experiment_id], "tags.`nasrunner.kind` = 'child'")
    for run in runs:
        assert run.info.status != "RUNNING"
        tags = run.data.tags
        found.setdefault(int(tags["nasrunner.index"]), []).append(tags["nasrunner.status"])
    return found


def of_table(case: Case) -> Recorded:
    found: Recorded = {}
    with (case.study.folder / "children.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, strict=True):
            assert None not in {*row, *row.values()}, "a row has another number of cells"
            found.setdefault(int(row["index"]), []).append(row["status"])
    return found


def event_files(case: Case) -> list[Path]:
    """Those of children, each of which has one."""
    return sorted((case.study.folder / "tensorboard").glob("[0-9]*/events.out.tfevents.*"))


def of_tensorboard(case: Case) -> Recorded:
    found: Recorded = {}
    for path in event_files(case):
        values = [
            each for event in EventFileLoader(str(path)).Load() for each in event.summary.value
        ]
        for value in values:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                content = value.metadata.plugin_data.content
                hparams = metadata.parse_session_start_info_plugin_data(content).hparams
                status = hparams["nasrunner.status"].string_value
                found.setdefault(int(path.suffix[1:]), []).append(status)
    return found


def wandb_runs(case: Case) -> dict[str, list[WandbRun]]:
    """What is recorded offline, by the kind of run; each id is there once."""
    wandb.teardown()  # as the process ends: W&B's own writes what it holds
    runs = [read_offline(p) for p in (case.study.folder / "wandb").glob("offline-run-*/*.wandb")]
    assert len({run.id for run in runs}) == len(runs)
    found: dict[str, list[WandbRun]] = {}
    for run in runs:
        assert run.is_ended
        found.setdefault(run.kind, []).append(run)
    return found


def of_wandb(case: Case) -> Recorded:
    found: Recorded = {}
    for run in wandb_runs(case).get("child", []):
        known = run.config["nasrunner"]
        found.setdefault(known["children"][0], []).append(known["status"])
    return found


def of_both(case: Case) -> Recorded:
    assert of_mlflow(case) == of_table(case)
    return of_table(case)


def of_terminal(case: Case) -> Recorded:
    found: Recorded = {}
    for index, told in re.findall(r"^child (\d+) +(\S+)", case.screen.getvalue(), re.MULTILINE):
        is_number = re.fullmatch(r"[\d.e+-]+", told)
        found.setdefault(int(index), []).append("completed" if is_number else told.rstrip(":"))
    return found


READ: dict[str, Callable[[Case], Recorded | None]] = {
    "mlflow": of_mlflow,
    "csv": of_table,
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "several": of_both,
    "none": lambda case: None,
    TERMINAL: of_terminal,
}
"""How the records of a tracker are read. One that is new in conf/tracker is added here."""


def numbers_in_mlflow(case: Case) -> list[int]:
    """The proposals that a run names, and the estimates that are points."""
    client = MlflowClient(case.uri)
    experiment = client.get_experiment_by_name("fake")
    runs = client.search_runs([experiment.experiment_id])
    found: list[int] = []
    for run in runs:
        tags = run.data.tags
        if tags["nasrunner.kind"] == "study":
            points = client.get_metric_history(run.info.run_id, "estimate")
            found += [point.step for point in points]
        else:
            assert run.info.status != "RUNNING"
            told = tags.get("nasrunner.children", tags["nasrunner.index"])
            found += map(int, told.split())
    return [*found, FAILED_ESTIMATE]  # which has no value, and no point


def numbers_in_table(case: Case) -> list[int]:
    return [index for index, statuses in of_table(case).items() for _ in statuses]


def numbers_in_tensorboard(case: Case) -> list[int]:
    study = EventAccumulator(str(case.study.folder / "tensorboard" / "study")).Reload()
    points = [event.step for event in study.Tensors("estimate")]
    files = [int(path.suffix[1:]) for path in event_files(case)]
    return [*files, *points, FAILED_ESTIMATE]


def numbers_in_wandb(case: Case) -> list[int]:
    runs = wandb_runs(case)
    (study,) = runs.pop("study")
    found = [int(row["estimate_number"]) for row in study.history if "estimate" in row]
    for run in (run for each in runs.values() for run in each):
        found += run.config["nasrunner"]["children"]
    return [*found, FAILED_ESTIMATE]


def numbers_in_both(case: Case) -> list[int]:
    assert sorted(numbers_in_mlflow(case)) == sorted(numbers_in_table(case))
    return numbers_in_table(case)


def numbers_on_terminal(case: Case) -> list[int]:
    found = re.findall(r"^(?:child|estimate|supernet) (\d+) ", case.screen.getvalue(), re.MULTILINE)
    return list(map(int, found))


NUMBERS: dict[str, Callable[[Case], list[int]]] = {
    "mlflow": numbers_in_mlflow,
    "csv": numbers_in_table,
    "tensorboard": numbers_in_tensorboard,
    "wandb": numbers_in_wandb,
    "several": numbers_in_both,
    "none": lambda case: list(range(lineages.NUM)),
    TERMINAL: numbers_on_terminal,
}
"""How the outcomes are found of a study that has lineages, estimates and a supernet."""


def kill(tracker: Tracker) -> None:
    """What the end of the process is to the threads of a tracker."""
    for each in getattr(tracker, "_trackers", (tracker,)):
        if (writer := getattr(each, "_writer", None)) is not None:
            writer.abandon()
            writer.join(60)
            assert not writer.is_alive()
        if isinstance(each, WandbTracker):
            wandb.teardown()


def test_the_trackers_are_found_and_each_has_a_reader() -> None:
    assert {"mlflow", "csv", "several", "none"} <= set(FOUND)
    assert {*FOUND, TERMINAL} == set(READ) == set(NUMBERS)


@pytest.fixture(
    params=[
        pytest.param(each, marks=pytest.mark.slow if each == "several" else ())
        for each in (*FOUND, TERMINAL)
    ]
)
def case(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Case:
    made = Case(request.param, tmp_path / "all")
    shutil.copy(empty_database, made.root / "mlflow.db")
    return made


@pytest.fixture(params=FOUND)
def public(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Case:
    """Those that people look at somewhere else."""
    made = Case(request.param, tmp_path / "all")
    shutil.copy(empty_database, made.root / "mlflow.db")
    return made


def test_every_outcome_is_recorded_once_whatever_became_of_the_child(case: Case) -> None:
    tracker = case.opened()
    for index in range(NUM_CHILDREN):
        case.study.record(tracker, index)
    tracker.close(case.study.summary())
    expected = all_recorded(case.study)
    statuses = [expected[index] for index in (FAILED, INVALID, REUSED, DUPLICATE)]
    assert statuses == [["failed"], ["invalid"], ["completed"], ["duplicate"]]
    assert case.read() in (expected, None)


def test_a_study_that_was_killed_is_recorded_once_when_it_goes_on(case: Case) -> None:
    tracker = case.opened()
    for index in range(5):
        case.study.record(tracker, index)
    kill(tracker)
    for index in range(5, 8):  # they stand in the ledger, and the tracker never heard of them
        case.study.run_child(index)
        case.study.append(case.study.outcome(index))
    tracker = case.opened()
    for index in range(8, NUM_CHILDREN):
        case.study.record(tracker, index)
    tracker.close(case.study.summary())
    expected = all_recorded(case.study)
    if case.name == TERMINAL:  # which shows what happens while it is looked at
        expected = {index: each for index, each in expected.items() if index not in range(5, 8)}
    assert case.read() in (expected, None)


def test_trainings_that_go_on_estimates_and_supernets_are_recorded_once(case: Case) -> None:
    case.study = lineages.LineageStudy(case.study.folder)
    tracker = case.opened()
    for index in range(lineages.NUM):
        case.study.record(tracker, index)
    tracker.close(case.study.summary())
    assert sorted(NUMBERS[case.name](case)) == list(range(lineages.NUM))


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lineages.FAILED_ESTIMATE, marks=pytest.mark.slow),
        lineages.NEXT,
        pytest.param(lineages.LAST, marks=pytest.mark.slow),
    ],
)
def test_a_study_of_lineages_that_was_killed_is_recorded_once(case: Case, first: int) -> None:
    case.study = lineages.LineageStudy(case.study.folder)
    tracker = case.opened()
    for index in range(first):
        case.study.record(tracker, index)
    kill(tracker)
    tracker = case.opened()
    for index in range(first, lineages.NUM):
        case.study.record(tracker, index)
    tracker.close(case.study.summary())
    assert sorted(NUMBERS[case.name](case)) == list(range(lineages.NUM))


def test_a_study_that_has_ended_and_goes_on_is_not_recorded_again(case: Case) -> None:
    for first, last in itertools.pairwise((0, 6, 6, 7)):  # the second session adds nothing
        tracker = case.opened()
        for index in range(first, last):
            case.study.record(tracker, index)
        tracker.close(case.study.summary())
    assert case.read() in (all_recorded(case.study), None)


@pytest.mark.parametrize("failure", [None, "every child failed: RuntimeError"])
def test_close_twice_is_close_once(case: Case, failure: str | None) -> None:
    tracker = case.opened()
    case.study.record(tracker, FAILED)
    summary = replace(case.study.summary(), failure=failure)
    tracker.close(summary)
    tracker.close(summary)
    assert case.read() in (all_recorded(case.study), None)


def test_a_study_without_a_child_is_opened_and_closed(case: Case) -> None:
    case.opened().close(case.study.summary("interrupted"))
    assert case.read() in ({}, None)


ODD_VALUES = {
    "a": None,
    "b": [1, {"two": 3.0}],
    "c": lambda: None,  # no process could be given it
    "d": 'of "two",\nlines',
    "e": "=SUM(A1)",
    "ä/☃": float("nan"),
    "": True,
}
ODD_METRICS = {"not a number": float("nan"), "ü☃": float("-inf"), "x" * 300: 1e308, "index": 1}


def odd_blueprint() -> Blueprint:
    return Blueprint('linear, "quoted" → ☃\n' * 400, ODD_VALUES, None, None, lambda: "<svg>☃</svg>")


def test_odd_values_are_recorded_as_any_others(case: Case) -> None:
    tracker = case.opened()
    broken = Outcome(case.study.proposal(0), "failed", error="☃\x00\ud800\n" * 9000)
    odd = Outcome(case.study.proposal(1), "completed", 1e-300, ODD_METRICS)
    bare = Outcome(case.study.proposal(2), "completed", 0.5, {"val_accuracy": 0.5})
    for outcome, blueprint in ((broken, odd_blueprint()), (odd, odd_blueprint()), (bare, None)):
        case.study.propose(outcome.proposal)
        tracker.started(outcome.proposal, odd_blueprint())
        case.study.take(outcome)
        tracker.recorded(outcome, blueprint)
    tracker.close(replace(case.study.summary(), best=[]))
    assert case.read() in (all_recorded(case.study), None)


def test_a_tracker_that_can_write_nothing_more_stops_no_study(case: Case) -> None:
    case.changes["close_timeout_s"] = 0.3
    tracker = case.opened()
    case.study.record(tracker, 0)
    summary = case.study.summary()
    while case.root.exists():  # something may just be written in it
        shutil.rmtree(case.root, ignore_errors=True)
    case.root.write_text("no folder", encoding="utf-8")
    for index in (1, 2):
        outcome = case.study.outcome(index)
        blueprint = Blueprint(f"child {index}", {f"new/{index}": index}, 1, 1)
        case.study.take(outcome)
        tracker.started(outcome.proposal, blueprint)
        tracker.recorded(outcome, blueprint)
    tracker.close(summary)
    kill(tracker)


def test_a_child_that_cannot_be_built_any_more_is_recorded(case: Case) -> None:
    def inspect(given: Genotype) -> Blueprint:
        raise SpaceError("'0/affine': too large")

    for index in range(3):
        case.study.run_child(index)
        case.study.append(case.study.outcome(index))
    tracker = case.build()
    tracker.open(case.study.info, case.study.replay(), inspect)
    tracker.close(case.study.summary())
    expected = {} if case.name == TERMINAL else all_recorded(case.study)
    assert case.read() in (expected, None)


def test_it_writes_no_other_files_in_the_studys_folder_than_it_says(public: Case) -> None:
    def files() -> set[str]:
        return {path.name for path in public.study.folder.iterdir()}

    tracker = public.build()
    tracker.prepare()
    assert files() == set()
    public.study.run_child(0)
    public.study.append(public.study.outcome(0))
    summary = public.study.summary()
    before = files()
    tracker.open(public.study.info, public.study.state, public.study.inspect)
    tracker.close(summary)
    assert files() - before == set(files_of(public.config))


def test_how_to_look_at_it_is_said_before_and_after(public: Case) -> None:
    tracker = public.build()
    before = tracker.ui_command
    tracker.open(public.study.info, public.study.state, public.study.inspect)
    tracker.close(public.study.summary())
    after = tracker.ui_command
    assert before is None or before.strip()
    assert (after is None) == (public.name == "none")


def network(folder: Path, name: str) -> RetrainedNetwork:
    (folder / "retrained" / name).mkdir(parents=True, exist_ok=True)
    proposal = Proposal(0, {"0/affine/units": 3})
    return RetrainedNetwork(
        kind="retrained",
        name=name,
        folder=folder / "retrained" / name,
        outcome=Outcome(proposal, "completed", 0.5, {"test_accuracy": 0.5}, cost_s=1.0),
        blueprint=odd_blueprint(),
        ended_s=1.7e9,
        settings={"optimizer.lr": 0.1},
        facts={"child": "0", "seed": "3"},
    )


def retrained_in(case: Case) -> list[str]:
    if case.name == "tensorboard":
        files = case.study.folder.glob("tensorboard/retrained/*/events.out.tfevents.*")
        return sorted(path.parent.name for path in files)
    if case.name == "wandb":
        return sorted(run.name for run in wandb_runs(case).get("retrained", []))
    client = MlflowClient(case.uri)
    ids = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(ids, "tags.`nasrunner.kind` = 'retrained'")
    return sorted(run.data.tags["nasrunner.network"] for run in runs)


def test_networks_are_taken_once_and_add_nothing_to_the_search(public: Case) -> None:
    tracker = public.opened()
    public.study.record(tracker, 0)
    tracker.close(public.study.summary())
    networks = [network(public.study.folder, f"0000-seed{seed}") for seed in range(2)]
    for number in (1, 2, 2):
        construct(public.config, "tracker").retrained(public.study.info, networks[:number])
    assert public.read() in (all_recorded(public.study), None)
    expected = [] if public.name in ("csv", "none") else [each.name for each in networks]
    assert [name.removeprefix("retrained/") for name in retrained_in(public)] == expected


def test_networks_of_a_study_that_it_has_not_are_left_alone(public: Case) -> None:
    before = sorted(public.root.rglob("*"))
    tracker = construct(public.config, "tracker")
    networks = [network(public.study.folder, "0000-seed0")]
    tracker.retrained(public.study.info, networks)
    made = {path for path in public.root.rglob("*") if "retrained" not in path.parts}
    assert made == set(before)
    assert retrained_in(public) == []


@pytest.fixture(params=sorted(shipped_records()))
def readable(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Case:
    """Those whose records can be read."""
    made = Case(request.param, tmp_path / "all")
    shutil.copy(empty_database, made.root / "mlflow.db")
    return made


def test_what_is_recorded_is_found_by_its_address_and_fetched(
    readable: Case, tmp_path: Path
) -> None:
    records = shipped_records()[readable.name]
    assert records.address(readable.study.folder) is None
    tracker = readable.opened()
    readable.study.record(tracker, 0)
    tracker.close(readable.study.summary())
    address = records.address(readable.study.folder)
    assert address is not None
    assert address.startswith(records.scheme)
    assert {*records.places} <= {*readable.config}
    reader = records.reader(records.located(readable.config, readable.study.folder))
    (found,) = reader.search(None, None)
    for study in (found, reader.study(address)):
        place = reader.fetch(study, tmp_path / "fetched")
        ledger = (place / "ledger.jsonl").read_text(encoding="utf-8")
        assert ledger == (readable.study.folder / "ledger.jsonl").read_text(encoding="utf-8")
        assert records.address(place) == address
    assert records.name in reader.log(address, [place / "ledger.jsonl"], "report")
