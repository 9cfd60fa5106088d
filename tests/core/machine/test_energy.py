"""The counters of energy: powercap's packages, which begin again, and NVML's of a GPU."""

import ctypes
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core.machine.energy import CpuCounters, GpuCounters, NoEnergyError


def domain(powercap: Path, name: str, kind: str, energy_uj: int, range_uj: int = 1000) -> Path:
    """A domain of powercap, as Linux lays them out."""
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_packages_are_counted_and_neither_their_parts_nor_the_platform(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 100)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 50)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 200)
    platform = domain(tmp_path, "intel-rapl:2", "psys", 900)
    same = domain(tmp_path, "intel-rapl-mmio:0", "package-0", 100)
    (tmp_path / "intel-rapl").mkdir()
    counters = CpuCounters(tmp_path)
    assert counters.joules() == 0
    for counter, value in ((first, 130), (core, 80), (second, 210), (platform, 990), (same, 130)):
        counter.write_text(str(value))
    assert counters.joules() == pytest.approx(40e-6)


def test_a_counter_begins_again_after_its_range(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 990, range_uj=999)
    counters = CpuCounters(tmp_path)
    for value in (995, 5, 4, 4):  # 5 more, 10 more, 999 more, none
        counter.write_text(str(value))
        total = counters.joules()
    assert total == pytest.approx((5 + 10 + 999) * 1e-6)


def test_a_processor_that_is_counted_by_its_registers_alone_is_found(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    counters = CpuCounters(tmp_path)
    counter.write_text("4")
    assert counters.joules() == pytest.approx(3e-6)


def test_a_machine_without_counters_or_the_right_to_read_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoEnergyError, match=r"no energy of its CPU: .* has no package"):
        CpuCounters(tmp_path / "nowhere")
    domain(tmp_path, "intel-rapl:0", "package-0", 1)
    read_text = Path.read_text

    def refuse(path: Path, **others: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, **others)

    monkeypatch.setattr(Path, "read_text", refuse)
    message = "intel-rapl:0/energy_uj cannot be read: Permission denied. Linux lets root alone"
    with pytest.raises(NoEnergyError, match=message):
        CpuCounters(tmp_path)


class FakeNvml:
    """NVML as the driver's library has it, of one GPU with a counter in mJ."""

    def __init__(self, uuid: str, has_counter: bool = True) -> None:
        self.uuid, self.has_counter = uuid, has_counter
        self.count_mj, self.is_started = 5_000_000, False

    def nvmlInit_v2(self) -> int:  # NVML's name
        self.is_started = True
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        assert self.is_started
        handle._obj.value = 77
        return 0 if uuid.decode() == self.uuid else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: ctypes.c_void_p, count: Any) -> int:
        assert handle.value == 77
        count._obj.value = self.count_mj
        return 0 if self.has_counter else 3


def test_a_gpus_counter_is_read_from_nvml() -> None:
    nvml = FakeNvml("GPU-1")
    counters = GpuCounters("GPU-1", lambda: nvml)
    assert counters.joules() == 0
    nvml.count_mj += 2500
    assert counters.joules() == 2.5


def test_a_gpu_without_a_counter_and_a_machine_without_nvml_are_told() -> None:
    old = FakeNvml("GPU-1", has_counter=False)
    message = "no energy of GPU-1: nvmlDeviceGetTotalEnergyConsumption returned NVML's error 3"
    with pytest.raises(NoEnergyError, match=message):
        GpuCounters("GPU-1", lambda: old)
    with pytest.raises(NoEnergyError, match="no energy of GPU-2: nvmlDeviceGetHandleByUUID"):
        GpuCounters("GPU-2", lambda: old)
    missing = "libnvidia-ml-that-is-not-there.so"
    with pytest.raises(NoEnergyError, match=f"NVML cannot be loaded: {missing}"):
        GpuCounters("GPU-1", lambda: ctypes.CDLL(missing))
