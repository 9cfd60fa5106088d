"""Keeps Lightning's messages and every warning off the study's terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "torch", "torchmetrics")


@contextmanager
def redirected(handler: logging.Handler) -> Iterator[None]:
    """Gives warnings, and messages of Lightning, torch and torchmetrics, to ``handler`` alone.

    Messages below warnings are dropped: Lightning's say what the configuration says.
    """

    def show(text: Warning | str, kind: type[Warning], file: str, line: int, *_: Any) -> None:
        message = f"{file}:{line}: {kind.__name__}: {text}"
        handler.handle(
            logging.LogRecord("warnings", logging.WARNING, file, line, message, None, None)
        )

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    kept = [(each.handlers, each.propagate, each.level) for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        # Lightning's own use of what torch is about to remove: nothing a user could change
        warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning")
        # On a machine with SLURM: a child is started by the study, not by the user
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        warnings.showwarning = show  # type: ignore[assignment]  # older signature than typeshed's
        try:
            for each in loggers:
                each.handlers, each.propagate = [handler], False
                each.setLevel(logging.WARNING)
            yield
        finally:
            for each, (handlers, propagate, level) in zip(loggers, kept, strict=True):
                each.handlers, each.propagate = handlers, propagate
                each.setLevel(level)


def without_messages() -> Any:
    """Drops all of them: for trying what a child will do, and then log for itself."""
    return redirected(logging.NullHandler())
