"""Which errors are the machine's, and which somebody's own."""

import errno
import subprocess
from pathlib import Path

import pytest
import torch

from nasrunner.core import DataError, MachineError
from nasrunner.core.machine.faults import machine_fault


def raised_from(cause: BaseException) -> Exception:
    try:
        raise DataError("no data") from cause
    except DataError as error:
        return error


def raised_while_handling(context: BaseException) -> Exception:
    try:
        try:
            raise context
        except BaseException:
            raise RuntimeError("unexpected pos 576 vs 534")  # noqa: B904 - as torch does
    except RuntimeError as error:
        return error


def raised_instead_of(context: BaseException) -> Exception:
    try:
        try:
            raise context
        except BaseException:
            raise ValueError("a better way to say it") from None
    except ValueError as error:
        return error


FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "No space left on device: /data/x"),
        (
            OSError(errno.ENOSPC, "full", "/tmp/x", None, "/data/x"),
            "No space left on device: /data/x",
        ),
        (READ_ONLY, "Read-only file system"),
        (OSError(errno.EDQUOT, "any text"), "Disk quota exceeded"),
        (OSError(errno.EMFILE, "any text"), "Too many open files"),
        (OSError(errno.ENFILE, "any text"), "Too many open files in system"),
        (OSError(errno.EIO, "any text"), "Input/output error"),
        (OSError(errno.ENOMEM, "any text"), "Cannot allocate memory"),
        (raised_from(FULL), "No space left on device: /data/x"),
        (raised_while_handling(FULL), "No space left on device: /data/x"),
        (RuntimeError("unable to write to </torch_1>: No space left on device (28)"), "No space"),
        (MachineError("as it was said"), "as it was said"),
        (raised_from(MachineError("as it was said")), "as it was said"),
    ],
)
def test_a_fault_of_the_machine_is_found_and_told(error: Exception, said: str) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert str(fault).startswith(said)


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/x"),
        OSError("no number"),
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: (Cannot allocate memory)"),
        raised_from(ValueError("x")),
        raised_instead_of(FULL),
    ],
)
def test_what_is_somebodys_own_is_no_fault_of_the_machine(error: Exception | None) -> None:
    assert machine_fault(error) is None


def test_torch_on_a_full_disk_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    """Its own writer raises no OSError."""
    for write in (lambda: torch.save(torch.zeros(1000), "/dev/full"), into_full_file):
        with pytest.raises((RuntimeError, OSError), match=r"unexpected pos|No space") as raised:
            write()
        assert machine_fault(raised.value) is not None


def into_full_file() -> None:
    with open("/dev/full", "wb") as file:
        torch.save(torch.zeros(1_000_000), file)


def test_a_disk_without_inodes_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    small = ["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(small, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        (tmp_path / "one").touch()
        with pytest.raises(OSError, match="No space left") as raised:
            (tmp_path / "two").touch()
        assert str(machine_fault(raised.value)) == f"No space left on device: {tmp_path}/two"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)
