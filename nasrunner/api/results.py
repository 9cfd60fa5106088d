"""``nasrunner.load``: a study's children, tables, pages and trained networks."""

import html
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrunner.core.errors import ConfigError
from nasrunner.core.records import Outcome
from nasrunner.core.screen.commands import short
from nasrunner.recorded import RecordedChild, RecordedStudy, latest_of, read_study

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from nasrunner.export.trained import Trained, TrainedWeights
    from nasrunner.predict.network import Inference
    from nasrunner.predict.prediction import Prediction
    from nasrunner.predict.tables import Unknown

_SHOWN = 5

_KEPT = 4
"""Networks that a study's children have predicted with and that stay in memory."""


@dataclass(frozen=True)
class ChildResult:
    """A child with an outcome.

    Attributes:
        study: the one it was trained in.
        recorded: what the study recorded of it.
    """

    study: "StudyResult"
    recorded: RecordedChild

    @property
    def index(self) -> int:
        """Its number in the study, from 0."""
        return self.recorded.proposal.index

    @property
    def reward(self) -> float | None:
        """What the searcher was told; None where it failed."""
        return self._outcome.reward

    @property
    def status(self) -> str:
        """What became of it: completed, paused, stopped, failed, invalid or duplicate."""
        return self._outcome.status

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured, by name; ``parameters`` and ``flops``, too."""
        return dict(self._outcome.metrics)

    @property
    def curve(self) -> Mapping[str, Sequence[float]]:
        """Metrics after each epoch, by name."""
        return {name: list(values) for name, values in self._outcome.curve.items()}

    @property
    def error(self) -> str | None:
        """Why it failed; None where it did not."""
        return self._outcome.error

    @property
    def values(self) -> Mapping[str, Any]:
        """What was chosen: decision path -> value."""
        return self.study.recorded.space.values(self.recorded.proposal.genotype)

    @property
    def architecture(self) -> str:
        """Its network in words."""
        return self.study.recorded.space.freeze(self.recorded.proposal.genotype).text()

    @property
    def folder(self) -> Path:
        """Where it keeps its files: configuration, metrics, weights."""
        reused = self._outcome.reused_from
        own = self.recorded.folder
        return own if reused is None else own.parent / f"{reused:04d}"

    def network(self) -> "nn.Module":
        """Builds its network with the weights of its best epoch, for inference.

        It is on the CPU and in evaluation mode; it takes a batch of inputs as the data module gives
        them, normalized as there, and gives numbers in the units of the targets.

        Raises:
            ConfigError: its weights were not kept, as of ``keep_weights`` and
                ``trainer.checkpoint``.
        """
        from nasrunner.export.target_units import in_target_units

        weights = self._weights
        return in_target_units(self._trained.network(weights), weights.target_scale)

    def predict(
        self,
        x: Any,
        y: Any = None,
        *,
        unknown: "Unknown" = "error",
        batch_size: int = 512,
    ) -> "Prediction":
        """Predicts the targets of new inputs, as they stand in the data, with its network.

        They are prepared as those of training were: the columns, categories and missing values of a
        table, the size and colours of images, normalization. The network runs on the CPU, and stays
        in memory for the next call.

        Args:
            x: arrays or tensors (N, ...), of several inputs by name; images as bytes (N, H, W, C)
                or (N, C, H, W); a DataFrame; or the path of a file of arrays or a table, or of an
                image or a folder of some.
            y: targets as they stand in the data, (N,) or (N, K), which are measured; None: those
                that a table or file has beside its inputs, if it has some. Missing ones, and such
                as the network does not know, are left out.
            unknown: ``error`` refuses categories of a table that training never had, and missing
                numbers where it had none; ``ignore`` encodes the former as none of the known ones,
                and replaces the latter by the training mean. A column whose rarer categories share
                a feature takes unseen ones as one of these in either case.
            batch_size: examples that are computed at once; it changes nothing but rounding.

        Returns:
            The predictions, in the order of the examples. What its ``notes`` say is warned of, too.

        Raises:
            ConfigError: its weights were not kept, ``unknown`` or ``batch_size`` is not legal, or
                its task has no output for an example as a whole.
            DataError: the inputs are not such as it was trained on.

        Example:
            >>> nasrunner.load("outputs/STUDY").best.predict("new.csv").frame()  # doctest: +SKIP
        """
        inference = replace(self._inference(unknown), batch_size=batch_size)
        found = inference.predict(x, y)
        for note in found.notes:
            warnings.warn(note, stacklevel=2)
        return found

    def __repr__(self) -> str:
        reward = "no reward" if self.reward is None else f"reward {self.reward:.5g}"
        return f"<child {self.index}: {self.status}, {reward}, {self.architecture}>"

    @cached_property
    def _trained(self) -> "Trained":
        from nasrunner.export.trained import find

        return find(str(self.folder), self.study.folder, trust=self.study.trust)

    @property
    def _weights(self) -> "TrainedWeights":
        from nasrunner.export.trained import read_weights

        if (weights := read_weights(self._trained)) is None:
            raise ConfigError(f"child {self.index}: {self._trained.without_weights}")
        return weights

    def _inference(self, unknown: "Unknown") -> "Inference":
        """What predicts with its network, loaded unless it was lately."""
        from nasrunner.export.trained import checkpoint_in
        from nasrunner.predict.network import Inference

        path, kept = checkpoint_in(self.folder), self.study.inferences
        key = (self.folder, unknown, path and (path.name, path.stat().st_mtime_ns))
        if key not in kept:
            made = Inference.of(self._trained, self._weights, unknown)
            for old in [*kept][: max(0, len(kept) + 1 - _KEPT)]:
                del kept[old]
            kept[key] = made
        return kept[key]

    @property
    def _outcome(self) -> Outcome:
        assert self.recorded.outcome is not None, "it was made of one with an outcome"
        return self.recorded.outcome


@dataclass(frozen=True)
class StudyResult:
    """What a study recorded: its children, in the order in which their outcomes came.

    Attributes:
        recorded: the study as it was read; it does not change while a study runs on.
        trust: whether it is taken with all that its configuration names.
    """

    recorded: RecordedStudy
    trust: bool = False

    @cached_property
    def inferences(self) -> "dict[Hashable, Inference]":
        """The networks that its children have lately predicted with."""
        return {}

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.recorded.folder

    @property
    def name(self) -> str:
        """What it is called."""
        return self.recorded.name

    @property
    def config(self) -> Mapping[str, Any]:
        """Its whole configuration, resolved."""
        return dict(self.recorded.config)

    @property
    def reason(self) -> str | None:
        """Why it ended; None where it runs, or was killed."""
        return self.recorded.reason

    @cached_property
    def children(self) -> Sequence[ChildResult]:
        """The children with an outcome; one that was gone on with once for each of its parts."""
        return tuple(ChildResult(self, child) for child in self.recorded.trainings)

    @property
    def best(self) -> ChildResult:
        """The best child of those that were trained to their ends, or else came furthest.

        Raises:
            ConfigError: no child has a reward.
        """
        best = self.top(1)
        if not best:
            raise ConfigError(f"{self.folder}: no child of the study has a reward")
        return best[0]

    def top(self, count: int) -> list[ChildResult]:
        """Returns the best children, best first, each architecture once.

        Args:
            count: how many at most, >= 1.
        """
        return [ChildResult(self, child) for child in self.recorded.best(count)]

    def frame(self) -> "pd.DataFrame":
        """Makes a table of the children: status, reward, seconds, metrics, and what was chosen.

        Returns:
            A row for each of ``children``, by its index; ``metrics/<name>`` and ``values/<decision
            path>`` are columns where a child has them, as in ``tracker=csv``.
        """
        import pandas as pd

        rows = list(map(_row, self.children))
        found = pd.DataFrame(rows, columns=list(dict.fromkeys(key for row in rows for key in row)))
        return found.set_index("index") if rows else found

    def report(self, to: str | Path | None = None) -> Path:
        """Writes the page about it, as ``nasrunner-report`` does.

        Args:
            to: the folder of the page; None: ``report`` in the study's.

        Returns:
            The page, one file of HTML.
        """
        from nasrunner.report.command import write_report

        return write_report([self.recorded], None if to is None else Path(to))

    def __iter__(self) -> Iterator[ChildResult]:
        return iter(self.children)

    def __len__(self) -> int:
        return len(self.children)

    def __repr__(self) -> str:
        best = self.top(1)
        told = f", best {best[0].reward:.5g} (child {best[0].index})" if best else ""
        return f"<study {self.name}: {len(self)} children{told}, in {short(self.folder)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows of it: the best children."""
        rows = "".join(
            f"<tr><td>{rank}</td><td>{each.index:04d}</td><td>{each.reward:.5g}</td>"
            f"<td style='text-align:left'>{html.escape(each.architecture)}</td></tr>"
            for rank, each in enumerate(self.top(_SHOWN), start=1)
        )
        return (
            f"<p><b>{html.escape(self.name)}</b>: {len(self)} children, in "
            f"<code>{html.escape(str(short(self.folder)))}</code></p><table><thead><tr><th></th>"
            f"<th>child</th><th>reward</th><th>architecture</th></tr></thead>{rows}</table>"
        )


def load(folder: str | Path, *, trust: bool = False) -> StudyResult:
    """Reads a study, finished, stopped or running.

    Args:
        folder: the study's, or of several of one name, of which the latest is taken.
        trust: whether a stranger's study is taken with all that its configuration names.

    Raises:
        ConfigError: there is no study, or several that are not called by when they began; or it may
            be a stranger's and could run code.
        LedgerError: its ledger is empty or damaged.
    """
    return StudyResult(read_study(latest_of(Path(folder)), trust=trust), trust)


def _row(child: ChildResult) -> dict[str, Any]:
    recorded, outcome = child.recorded, child.recorded.outcome
    assert outcome is not None
    ended = recorded.ended_s
    proposal = recorded.proposal
    told = {
        "index": child.index,
        "status": child.status,
        "reward": child.reward,
        "cost_s": outcome.cost_s,
        "ended_s": ended,
        "until": proposal.until,
        **{f"fidelity/{name}": value for name, value in proposal.fidelity.items()},
        "parent": proposal.parent,
        "reused_from": outcome.reused_from,
        "error": outcome.error,
        **{f"metrics/{name}": value for name, value in outcome.metrics.items()},
        **{f"objectives/{name}": value for name, value in outcome.objectives.items()},
    }
    always = ("index", "status", "reward", "cost_s")
    told = {name: value for name, value in told.items() if value is not None or name in always}
    return told | {f"values/{path}": value for path, value in child.values.items()}
