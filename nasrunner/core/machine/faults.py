"""Tells a fault of the machine from a failure of the child that met it."""

import errno
import os
import re

from nasrunner.core.errors import MachineError

_ERRNOS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM")
    if hasattr(errno, name)
}

# Of libraries that raise no OSError. Without ENOMEM: a network too large for it is the child's own.
_QUOTED = re.compile("|".join(re.escape(os.strerror(each)) for each in _ERRNOS - {errno.ENOMEM}))

_TORCH_WRITES = re.compile(r"basic_ios::clear: iostream error|PytorchStreamWriter failed writing")
"""What ``torch.save`` to a path says, whose C++ drops the system's reason."""


def machine_fault(error: BaseException | None) -> MachineError | None:
    """Finds the full disk, the read-only file system or the spent descriptors behind an error.

    Looks at what the error was raised from, too. None: it is somebody's own.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MachineError):
            return error
        if said := _said(error):
            return MachineError(said)
        is_hidden = error.__suppress_context__ or error.__cause__ is not None
        error = error.__cause__ if is_hidden else error.__context__
    return None


def _said(error: BaseException) -> str | None:
    """What the system said, and of which file; None: it is not the machine's fault."""
    if isinstance(error, OSError) and error.errno is not None and error.errno in _ERRNOS:
        file = error.filename2 or error.filename  # where to, of one that is moved or copied
        where = "" if file is None else f": {file}"
        return f"{os.strerror(error.errno)}{where}"
    if found := _QUOTED.search(str(error)):
        return found[0]
    if _TORCH_WRITES.search(str(error)):
        return "torch could not write a file"
    return None
