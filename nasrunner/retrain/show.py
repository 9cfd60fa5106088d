"""Shows a retraining on the terminal."""

import contextlib
import os
from pathlib import Path

from rich.console import Console
from rich.text import Text

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary, Tracker
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.core.screen.text import printable
from nasrunner.retrain.grid_result import written
from nasrunner.retrain.grid_search import GridSearch, Tuning
from nasrunner.retrain.networks import Network, Retraining
from nasrunner.retrain.results import Results


class Display:
    """One line for each network as it ends, and a table at the end.

    Args:
        console: where to write.
        metric: what is shown of each network.
    """

    def __init__(self, console: Console, metric: str) -> None:
        self.console = console
        self.metric = metric
        self._total = 0
        self._num_ended = 0

    def tuning(self, tuning: Tuning, num_networks: int) -> None:
        """Says how many trainings there are, where grids are searched before the networks."""
        if not tuning.searches:
            return
        num_points = tuning.searches[0].space.size()
        num_done = sum(len(search.points()) for search in tuning.searches)
        total = num_points * len(tuning.searches)
        points = f"{_counted(num_points, 'point')} of the grid"
        if len(tuning.searches) > 1:
            points += f" for each of {len(tuning.searches)} architectures"
        if num_done:
            points += f" ({num_done} done before)"
        networks = _counted(num_networks, "network")
        text = f"{points}, then {networks}: {total + num_networks} trainings"
        self._print(text, "bold")

    def points(self, search: GridSearch) -> Tracker:
        """Returns what tells of the points of a grid as they end."""
        return PointLines(self.console, search)

    def began(self, retraining: Retraining) -> None:
        """Says how much is to be done."""
        self._total = len(retraining.networks) + len(retraining.missing)
        self._num_ended = len(retraining.networks)
        done = f", {self._num_ended} of them done before" if self._num_ended else ""
        networks = _counted(self._total, "network")
        self._print(f"{networks}{done}, in {short(retraining.folder)}", "bold")

    def ended(self, network: Network) -> None:
        """Prints ``3/9  0004-seed2  test_accuracy 0.9806  12.1 s``."""
        self._num_ended += 1
        outcome, job = network.outcome, network.job
        line = Text(f"{self._num_ended}/{self._total}  {job.name}-seed{job.repetition}  ")
        if network.tested is None:
            line.append(f"failed: {last_line(outcome.error)}", style="red")
        else:
            value = network.tested["metrics"].get(self.metric)
            line.append(f"{self.metric} {value:.4f}  {outcome.cost_s:.1f} s")
        self.console.print(line, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Prints a warning."""
        self.console.print(
            Text.assemble(("warning: ", "bold yellow"), printable(message)), soft_wrap=True
        )

    def close(self, results: Results) -> None:
        """Prints the results."""
        for grid in results.grids:
            self.console.print(grid.table())
            if grid.is_hopeless:
                self.warn(f"child {grid.name} is not trained: no point of its grid has a reward")
        self.console.print(results.table())
        for network in results.networks:
            if network.tested is not None and network.tested.get("is_converged") is False:
                self.warn(
                    f"MLPClassifier of seed {network.job.repetition} has not converged in "
                    f"{network.tested['epoch'] + 1} epochs"
                )
        self.console.print(
            Text.assemble(("Folder: ", "bold"), short(results.folder)), soft_wrap=True
        )
        if results.is_interrupted:
            self.console.print("Interrupted: the same command goes on", style="bold")

    def _print(self, text: str, style: str) -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)


class PointLines:
    """One line for each point of a grid as it ends.

    Args:
        console: where to write.
        search: whose points they are.
    """

    def __init__(self, console: Console, search: GridSearch) -> None:
        self.console = console
        self.search = search
        self._num_ended = 0

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        self._num_ended = len(state.history.outcomes)
        done = f", {self._num_ended} of its points done before" if self._num_ended else ""
        text = f"Grid of child {self.search.name}{done}, in {short(info.folder)}"
        self.console.print(Text(text, style="bold"), soft_wrap=True)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        pass

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Prints ``3/16  0007/0002  reward 0.9806  12.1 s  optimizer.lr=0.05``."""
        self._num_ended += 1
        line = Text(f"{self._num_ended}/{self.search.space.size()}  {self.search.name}/")
        line.append(f"{outcome.proposal.index:04d}  ")
        if outcome.reward is None:
            line.append(f"failed: {last_line(outcome.error)}", style="red")
        else:
            line.append(f"reward {outcome.reward:.5g}  {outcome.cost_s:.1f} s")
        settings = self.search.settings_of(outcome.proposal)
        line.append(f"  {written({key: settings[key] for key in self.search.varying})}")
        self.console.print(line, soft_wrap=True)

    def close(self, summary: Summary) -> None:
        pass


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def short(path: Path) -> str:
    """Returns a path relative to where the user is, where that is shorter."""
    with contextlib.suppress(ValueError, OSError):
        return min(str(path), os.path.relpath(path), key=len)
    return str(path)
