"""What workers start with: modules that are imported once, when this one is.

The fork server imports it for workers of this machine, and Dask (``dask worker --preload``) in
workers inside allocations.
"""

import importlib
import os
import signal
import threading
from contextlib import suppress
from typing import Any

from nasrunner.core.machine.imports import quick_imports

VARIABLE = "NASRUNNER_PRELOAD"
"""The environment variable with the modules' names, separated by commas."""


def dask_teardown(worker: Any) -> None:
    """Called by Dask when a worker closes: its process ends here and now.

    Dask would wait half a minute for a child that still trains, while another worker has it.
    """
    os._exit(0)


if _modules := os.environ.get(VARIABLE):  # in a process that becomes a worker
    # SLURM warns every process of a job before its time limit; what to do is the driver's business.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with quick_imports():
        for _module in _modules.split(","):
            with suppress(ImportError):  # a child that needs it says so better
                importlib.import_module(_module)
