"""What workers are forked with: imported once, by the fork server, which imports this module."""

import importlib
import os
from contextlib import suppress

from nasrunner.core.imports import quick_imports

VARIABLE = "NASRUNNER_PRELOAD"
"""The environment variable with the modules' names, separated by commas."""

with quick_imports():
    for _module in filter(None, os.environ.get(VARIABLE, "").split(",")):
        with suppress(ImportError):  # a child that needs it says so better
            importlib.import_module(_module)
