"""What tracking costs: children written a second, what the study's thread pays, and memory.

``python benchmarks/tracking.py --children 300`` needs Debian's postgresql for two of the stores.
"""

import argparse
import contextlib
import gc
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from nasrunner.core import Blueprint, Genotype, Outcome, Proposal, StudyInfo, Summary
from nasrunner.core.ledger.events import Proposed, Recorded
from nasrunner.core.ledger.state import StudyState
from nasrunner.trackers.mlflow.runs import StudyRuns
from nasrunner.trackers.mlflow.stores.database import with_driver
from nasrunner.trackers.mlflow.tracker import MlflowTracker
from tests.trackers.databases import PASSWORD, postgresql, postgresql_programs
from tests.trackers.servers import free_port, mlflow_server

DECISIONS = 14
DRAWING = "<svg>" + 200 * "<path d='M0 0L1 1'/>" + "</svg>"


def inspect(genotype: Genotype) -> Blueprint:
    """A blueprint of the size that a chain of fourteen decisions has."""
    values = {path: 2.0**choice for path, choice in genotype.items()}
    return Blueprint(str(values), values, 1000, 2000, lambda: DRAWING)


def outcome(index: int) -> Outcome:
    """A child that was completed."""
    genotype = {f"{i}/affine/units": (index >> i) % 2 for i in range(DECISIONS)}
    metrics = {"val_accuracy": 0.5, "val_loss": 0.5, "train_loss": 0.5}
    return Outcome(Proposal(index, genotype), "completed", 0.5, metrics, 1.0)


def make_tracker(uri: str, artifacts: str | None, max_waiting: int) -> MlflowTracker:
    """A tracker that waits as long as it takes in the end."""
    return MlflowTracker(
        uri, artifacts, "tracking", poll_s=5, max_waiting=max_waiting, close_timeout_s=600
    )


def record(tracker: MlflowTracker, state: StudyState, children: int) -> list[float]:
    """Seconds the study's thread spends in the tracker, for each child."""
    paid_s = []
    for index in range(children):
        ended = outcome(index)
        blueprint = inspect(ended.proposal.genotype)
        take(state, ended)
        start = time.perf_counter()
        tracker.started(ended.proposal, blueprint)
        tracker.recorded(ended, blueprint)
        paid_s.append(time.perf_counter() - start)
    return paid_s


def info(folder: Path) -> StudyInfo:
    """A study in a new folder."""
    folder.mkdir(parents=True)
    config = {"study": "tracking", "searcher": {"_target_": "x.Random"}}
    return StudyInfo("tracking", folder, config, None)


def take(state: StudyState, ended: Outcome) -> None:
    """Changes a study's state as the events of a child do."""
    state.apply(Proposed(ended.proposal), time.time())
    state.apply(Recorded(ended), time.time())


def connected(tracker: MlflowTracker, folder: Path) -> StudyState:
    """Opens a study and waits until it is in the store: imports are not what is measured."""
    state = StudyState()
    tracker.open(info(folder), state, inspect)
    assert tracker._writer is not None
    while not tracker._writer.runs.is_connected:
        time.sleep(0.01)
    return state


def written_ms(uri: str, artifacts: str | None, folder: Path, children: int) -> float:
    """Milliseconds for each child until all are in the store."""
    tracker = make_tracker(uri, artifacts, max_waiting=256)
    state = connected(tracker, folder)
    start = time.perf_counter()
    record(tracker, state, children)
    tracker.close(Summary("measured", {"completed": children}, [], 0.0, 0.0))
    return 1e3 * (time.perf_counter() - start) / children


def paid_ms(uri: str, artifacts: str | None, folder: Path, children: int) -> tuple[float, float]:
    """Median and 99th percentile of milliseconds of the study's thread, where none has to wait."""
    tracker = make_tracker(uri, artifacts, max_waiting=children + 1)
    state = connected(tracker, folder)
    paid_s = record(tracker, state, children)
    tracker.close(Summary("measured", {"completed": children}, [], 0.0, 0.0))
    return 1e3 * statistics.median(paid_s), 1e3 * statistics.quantiles(paid_s, n=100)[98]


def fluent_ms(uri: str, children: int) -> float:
    """The same facts, without artifacts, through MLflow's fluent calls in the study's thread."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("fluent")
    start = time.perf_counter()
    with mlflow.start_run():
        for index in range(children):
            ended = outcome(index)
            blueprint = inspect(ended.proposal.genotype)
            with mlflow.start_run(run_name=f"{index:04d}", nested=True):
                mlflow.log_params(dict(blueprint.values))
                mlflow.log_metrics({"reward": 0.5, **ended.metrics})
                mlflow.set_tags({"study": "tracking", "index": index})
                mlflow.set_tag("mlflow.note.content", blueprint.text)
    return 1e3 * (time.perf_counter() - start) / children


def memory_mb(folder: Path, children: int) -> tuple[float, float]:
    """Memory of the outcomes, which a study keeps anyway, and what a store that is away adds."""
    tracker = make_tracker(f"sqlite:///{folder}/away.db", None, max_waiting=256)
    tracemalloc.start()
    kept = [outcome(index) for index in range(children)]
    outcomes_mb = tracemalloc.get_traced_memory()[0] / 1e6
    with mock.patch.object(StudyRuns, "connect", side_effect=ConnectionError("it is away")):
        state = StudyState()
        tracker.open(info(folder / "study"), state, inspect)
        assert tracker._writer is not None
        while not tracker._writer.last_error:
            time.sleep(0.01)
        for ended in kept:
            take(state, ended)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for ended in kept:
            blueprint = inspect(ended.proposal.genotype)
            tracker.started(ended.proposal, blueprint)
            tracker.recorded(ended, blueprint)
        gc.collect()
        added_mb = (tracemalloc.get_traced_memory()[0] - before) / 1e6
        tracemalloc.stop()
        tracker._writer._is_abandoned = True
        return outcomes_mb, added_mb


@contextlib.contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[str, str | None]]]:
    """Name -> (tracking URI, artifact URI); those with PostgreSQL where it is installed."""
    found: dict[str, tuple[str, str | None]] = {"sqlite": (f"sqlite:///{folder}/mlflow.db", None)}
    programs = postgresql_programs()
    if programs is None:
        yield found
        return
    os.environ["PGPASSWORD"] = PASSWORD
    with postgresql(programs) as server:
        found["postgresql"] = (server.new_database("direct"), str(folder / "artifacts"))
        behind = with_driver(server.new_database("behind"), "--")
        log = folder / "server.log"
        with mlflow_server(free_port(), folder / "unused.db", log, behind) as uri:
            found["server on postgresql"] = (uri, None)
            yield found


def main() -> None:
    """Prints a line for each store, then the memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--children", type=int, default=300)
    parser.add_argument("--away", type=int, default=10_000, help="children without a store")
    arguments = parser.parse_args()
    children = arguments.children
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as found:
        for store, (uri, artifacts) in found.items():
            folder = Path(name) / store.replace(" ", "_")
            made_ms = written_ms(uri, artifacts, folder / "written", children)
            paid, rare = paid_ms(uri, artifacts, folder / "paid", children)
            plain = uri if uri.startswith("http") else with_driver(uri, "--")
            bare_ms = fluent_ms(plain, min(children, 100))
            print(
                f"{store}: {1e3 / made_ms:.0f} children a second ({made_ms:.1f} ms each with "
                f"artifacts; MLflow's fluent calls without: {bare_ms:.1f} ms, ratio "
                f"{made_ms / bare_ms:.2f}); the study's thread pays {paid:.3f} ms a child "
                f"(99 %: {rare:.3f}), {paid / bare_ms:.5f} of the fluent calls",
                flush=True,
            )
        kept, added = memory_mb(Path(name) / "away", arguments.away)
        print(
            f"store away, {arguments.away} children: outcomes {kept:.1f} MB, which a study keeps "
            f"anyway; waiting for the store {added:.1f} MB more"
        )


if __name__ == "__main__":
    main()
