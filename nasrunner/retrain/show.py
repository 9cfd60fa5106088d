"""Shows a retraining on the terminal."""

import contextlib
import os
from pathlib import Path

from rich.console import Console
from rich.text import Text

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

    def began(self, retraining: Retraining) -> None:
        """Says how much is to be done."""
        self._total = len(retraining.networks) + len(retraining.missing)
        self._num_ended = len(retraining.networks)
        done = f", {self._num_ended} of them done before" if self._num_ended else ""
        self._print(f"{self._total} networks{done}, in {short(retraining.folder)}", "bold")

    def ended(self, network: Network) -> None:
        """``3/9  0004-seed2  test_accuracy 0.9806  12.1 s``."""
        self._num_ended += 1
        outcome, job = network.outcome, network.job
        line = Text(f"{self._num_ended}/{self._total}  {job.name}-seed{job.repetition}  ")
        if network.tested is None:
            reason = (outcome.error or "no reason given").strip().splitlines()[-1]
            line.append(f"failed: {reason[:160]}", style="red")
        else:
            value = network.tested["metrics"].get(self.metric)
            line.append(f"{self.metric} {value:.4f}  {outcome.cost_s:.1f} s")
        self.console.print(line, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Prints a warning."""
        self.console.print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)

    def close(self, results: Results) -> None:
        """Prints the results."""
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


def short(path: Path) -> str:
    """A path relative to where the user is, where that is shorter."""
    with contextlib.suppress(ValueError, OSError):
        return min(str(path), os.path.relpath(path), key=len)
    return str(path)
