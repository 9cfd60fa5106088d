"""The energy that this machine counts: Linux' powercap for CPU packages, NVML for NVIDIA's GPUs."""

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from nasrunner.core.errors import NasRunnerError

POWERCAP = Path("/sys/class/powercap")
"""Where Linux has the counters of Intel's and AMD's processors (RAPL)."""

_KINDS = ("intel-rapl", "intel-rapl-mmio")
"""Of one processor the two count the same; AMD's are called so, too."""

_NVML_SUCCESS = 0


class NoEnergyError(NasRunnerError):
    """This machine does not say what energy a device takes."""


class EnergyCounters(Protocol):
    """Counts the energy of a device, and of nothing less: all that runs on it is in the count.

    Attributes:
        update_s: how long the count may stand still.
    """

    update_s: float

    def joules(self) -> float:
        """Reads the energy since the first reading, which is 0.

        Raises:
            NoEnergyError: a counter cannot be read.
        """


class CpuCounters:
    """Counts the energy of all CPU packages: cores, caches and memory controllers, without DRAM.

    Args:
        folder: of powercap.

    Raises:
        NoEnergyError: it has no package, or one that this user may not read.
    """

    update_s = 0.001

    def __init__(self, folder: Path | None = None) -> None:
        folder = POWERCAP if folder is None else folder
        self._ranges_uj = {path: _number(path / "max_energy_range_uj") for path in packages(folder)}
        if not self._ranges_uj:
            raise NoEnergyError(
                f"this machine reports no energy of its CPU: {folder} has no package of "
                "intel-rapl, as in most virtual machines"
            )
        self._last_uj: Mapping[Path, int] = self._read()
        self._total_uj = 0

    def joules(self) -> float:
        now_uj = self._read()
        for path, range_uj in self._ranges_uj.items():
            # A counter begins again at 0 after its range: every minute at the soonest.
            self._total_uj += (now_uj[path] - self._last_uj[path]) % (range_uj + 1)
        self._last_uj = now_uj
        return self._total_uj / 1e6

    def _read(self) -> dict[Path, int]:
        return {path: _number(path / "energy_uj") for path in self._ranges_uj}


def packages(folder: Path) -> list[Path]:
    """Lists powercap's domains of CPU packages: without their parts, and without the platform."""
    for kind in _KINDS:
        domains = sorted(folder.glob(f"{kind}:*"))
        found = [each for each in domains if _text(each / "name").startswith("package")]
        if found:
            return found
    return []


class GpuCounters:
    """Counts the energy of a GPU's board, from NVML's counter; Volta's and later GPUs have one.

    Args:
        uuid: the GPU's, as ``nvidia-smi -L`` lists it.
        load: loads NVML, which comes with the driver.

    Raises:
        NoEnergyError: there is no NVML, or no such counter, as of a part of a GPU (MIG).
    """

    update_s = 0.1

    def __init__(
        self, uuid: str, load: Callable[[], Any] = lambda: ctypes.CDLL("libnvidia-ml.so.1")
    ) -> None:
        self._uuid = uuid
        try:
            self._nvml = load()
        except OSError as error:
            raise NoEnergyError(
                f"this machine reports no energy of its GPU: NVML cannot be loaded: {error}"
            ) from error
        self._gpu = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._gpu))
        self._first_mj = self._read()

    def joules(self) -> float:
        return (self._read() - self._first_mj) / 1000

    def _read(self) -> int:
        count_mj = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._gpu, ctypes.byref(count_mj))
        return count_mj.value

    def _call(self, name: str, *arguments: object) -> None:
        if (code := getattr(self._nvml, name)(*arguments)) != _NVML_SUCCESS:
            raise NoEnergyError(
                f"this machine reports no energy of {self._uuid}: {name} returned NVML's error "
                f"{code}"
            )


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise NoEnergyError(
            f"{path} cannot be read: {os.strerror(error.errno or 0)}. Linux lets root alone read "
            "what energy a CPU takes; an administrator may change the file's mode"
        ) from error
    except (OSError, ValueError) as error:
        raise NoEnergyError(f"{path} cannot be read: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
