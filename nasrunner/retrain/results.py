"""What came of a retraining: mean and standard deviation of each architecture's networks."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from nasrunner.core.machine.files import replace_file
from nasrunner.core.screen.text import csv_cell
from nasrunner.recorded import OTHER_DATA
from nasrunner.retrain.grid_result import GridResult, written
from nasrunner.retrain.networks import Network
from nasrunner.retrain.training.recipe import On, Start, repetition_seed


@dataclass(frozen=True)
class Spread:
    """A metric of several networks.

    Attributes:
        mean: their mean.
        sd: their sample standard deviation, divided by n - 1; None of one network.
        values: of each, in the order of the repetitions.
    """

    mean: float
    sd: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, tuple(values))

    def text(self) -> str:
        """Returns ``0.9861 ± 0.0024``."""
        return f"{self.mean:.4f}" + ("" if self.sd is None else f" ± {self.sd:.4f}")


@dataclass(frozen=True)
class ResultRow:
    """The networks of one architecture, or scikit-learn's.

    Attributes:
        name: how their folders begin: ``0007``, ``mlp_classifier``.
        architecture: in words.
        parameters: trainable ones; None where unknown.
        reward: what the search found; None of what it did not search.
        metrics: of the test part, over the networks that were tested.
        num_failed: networks that broke in training.
    """

    name: str
    architecture: str
    parameters: int | None
    reward: float | None
    metrics: Mapping[str, Spread]
    num_failed: int


@dataclass(frozen=True)
class Results:
    """All that a retraining found.

    Attributes:
        study: the study's name.
        folder: where the networks are.
        on: what they were trained on.
        seed: the study's.
        metric: the metric of the test that the search's reward is made of.
        rows: best in the search first, scikit-learn last.
        networks: all that ended.
        is_interrupted: some that were asked for were not trained.
        grids: those of the architectures, where there was one.
        start: what their training began with.
        other_data: the option of the data set that they were rebuilt for; None: it is the one of
            the search.
    """

    study: str
    folder: Path
    on: On
    seed: int
    metric: str
    rows: Sequence[ResultRow]
    networks: Sequence[Network]
    is_interrupted: bool
    grids: Sequence[GridResult] = ()
    start: Start = "scratch"
    other_data: str | None = None

    def write(self) -> None:
        """Writes ``retrain.json`` and ``retrain.csv``, each whole or not at all."""
        record = {
            "study": self.study,
            "on": self.on,
            "start": self.start,
            **({} if self.other_data is None else {OTHER_DATA: self.other_data}),
            "metric": self.metric,
            "architectures": [asdict(row) for row in self.rows],
            "networks": self.records(),
        }
        if self.grids:
            record["grids"] = [grid.record() for grid in self.grids]
        replace_file(self.folder / "retrain.json", json.dumps(record, indent=2, ensure_ascii=False))
        replace_file(self.folder / "retrain.csv", self._csv())

    def settings_of(self, name: str) -> Mapping[str, Any]:
        """Returns what the grid chose for an architecture's networks; nothing without one."""
        best = next((grid.best for grid in self.grids if grid.name == name), None)
        return {} if best is None else best.settings

    def records(self) -> list[dict[str, Any]]:
        """Returns one record a network: what it is, how it was trained, and what its test said."""
        return [self._record(network) for network in self.networks]

    def _record(self, network: Network) -> dict[str, Any]:
        job, outcome, tested = network.job, network.outcome, network.tested or {}
        return {
            "name": job.name,
            "repetition": job.repetition,
            "seed": repetition_seed(self.seed, job.repetition),
            "folder": job.folder(self.folder).name,
            "status": outcome.status,
            "epochs": outcome.metrics.get("epochs"),
            "weights": tested.get("weights"),
            "epoch": tested.get("epoch"),
            "tested_s": tested.get("time"),
            "test_examples": tested.get("examples"),
            "is_converged": tested.get("is_converged"),
            "cost_s": round(outcome.cost_s, 3),
            **tested.get("metrics", {}),
            **self.settings_of(job.name),
            "error": outcome.error,
        }

    def _csv(self) -> str:
        records = self.records()
        names = list(dict.fromkeys(name for record in records for name in record))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(map(csv_cell, names))
        writer.writerows([csv_cell(record.get(name, "")) for name in names] for record in records)
        return text.getvalue()

    def table(self) -> Table:
        """Returns the rows as they are printed."""
        tested = [network.tested for network in self.networks if network.tested is not None]
        examples = f" on {tested[0]['examples']:,} examples" if tested else ""
        on = "train and validation" if self.on == "train_and_validation" else "train"
        what = "Trained" if self.start == "scratch" else "Children's weights trained further"
        of = "" if self.other_data is None else f" of {self.other_data}"
        title = f"{what} on {on}{of}, tested once each{examples}: mean ± sd over seeds"
        table = Table(title=title, title_justify="left", title_style="bold", box=None)
        reward = "reward" if self.other_data is None else "reward in the search"
        for name in ("child", reward, "parameters", self.metric.replace("_", " "), "seeds"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("architecture", overflow="fold", ratio=1)
        for row in self.rows:
            spread = row.metrics.get(self.metric)
            chosen = written(self.settings_of(row.name))
            num_tested = 0 if spread is None else len(spread.values)
            table.add_row(
                row.name if row.reward is not None else "",
                "" if row.reward is None else f"{row.reward:.5g}",
                "–" if row.parameters is None else f"{row.parameters:,}",
                "–" if spread is None else spread.text(),
                f"{num_tested}" + (f" ({row.num_failed} failed)" if row.num_failed else ""),
                Text(" | ".join(filter(None, (row.architecture, chosen)))),
            )
        return table


def row_of(
    name: str,
    architecture: str,
    parameters: int | None,
    reward: float | None,
    networks: Sequence[Network],
) -> ResultRow:
    """Returns the row of one architecture's networks, those that failed left out of its metrics."""
    tested = [network.tested["metrics"] for network in networks if network.tested is not None]
    names = tested[0] if tested else ()
    metrics = {name: Spread.of([each[name] for each in tested]) for name in names}
    return ResultRow(name, architecture, parameters, reward, metrics, len(networks) - len(tested))
