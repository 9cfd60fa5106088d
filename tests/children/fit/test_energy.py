"""The energy of a child: how it is measured, and that it is an objective like any other."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from nasrunner import command as nasrunner
from nasrunner.children.fit.energy import Clock, check_counts, energy
from nasrunner.core import ConfigError
from nasrunner.core.machine import energy as machine
from tests.children.blobs import train

WATTS = 10.0
NAMES = ("energy_j", "energy_iqr_j", "energy_idle_j")


@dataclass
class Device:
    """A device of 5 W on a clock of its own, that takes 0.3 J more for a call of 10 ms."""

    update_s: float = 0.001
    now_s: float = 0.0
    used_j: float = 7.0
    num_calls: int = 0

    def joules(self) -> float:
        return self.used_j

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.used_j += 5 * seconds

    def run(self) -> None:
        self.num_calls += 1
        self.used_j += 0.3
        self.sleep(0.01)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.sleep)


@pytest.mark.parametrize(("update_s", "window_s"), [(0.001, 0.2), (0.1, 2.0)])
def test_the_energy_of_a_call_is_that_of_a_window_by_its_calls(
    update_s: float, window_s: float
) -> None:
    device = Device(update_s)
    found = energy(device.run, lambda: None, device, device.clock)
    assert found["energy_j"] == pytest.approx(0.35)
    assert found["energy_idle_j"] == pytest.approx(0.05)
    assert found["energy_iqr_j"] == pytest.approx(0, abs=1e-9)
    # to warm up, and five windows; the clock may end each a call later
    assert device.num_calls == pytest.approx(10 + 5 * window_s / 0.01, abs=5)


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Powercap's files of a machine that takes 10 W whatever it does, begins again each 0.3 s."""
    folder = tmp_path / "powercap" / "intel-rapl:0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("2999999\n")
    read_text = Path.read_text

    def read(path: Path, **others: Any) -> str:
        if path.name != "energy_uj":
            return read_text(path, **others)
        return f"{round(WATTS * 1e6 * time.perf_counter()) % 3_000_000}\n"

    monkeypatch.setattr(machine, "POWERCAP", tmp_path / "powercap")
    monkeypatch.setattr(Path, "read_text", read)
    return folder


def test_a_child_has_an_energy_where_an_objective_names_it(tmp_path: Path, powercap: Path) -> None:
    plain = train(tmp_path / "plain")
    measured = train(tmp_path / "measured", objectives=("energy_j", "latency_ms"))
    own = {name: measured.metrics[name] for name in (*NAMES, "latency_ms", "latency_iqr_ms")}
    assert measured.metrics == plain.metrics | own
    assert (measured.reward, measured.curve) == (plain.reward, plain.curve)
    # A latency is a median, which leaves out what other processes took of the time.
    assert own["energy_j"] > 0.5 * WATTS * own["latency_ms"] / 1000
    assert own["energy_idle_j"] == pytest.approx(own["energy_j"], rel=0.5)


def test_an_energy_that_is_no_objective_is_not_measured(tmp_path: Path, powercap: Path) -> None:
    measured = train(tmp_path, objectives=("latency_ms",))
    assert not set(NAMES) & set(measured.metrics)


def test_a_counter_that_stands_still_is_refused(
    tmp_path: Path, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_counts(torch.device("cpu"))
    monkeypatch.undo()
    (powercap / "energy_uj").write_text("5")
    monkeypatch.setattr(machine, "POWERCAP", powercap.parent)
    with pytest.raises(ConfigError, match=r"objectives.energy_j: .* its cpu: its counter stands"):
        check_counts(torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"objectives.energy_j: .* reports no energy of mps"):
        check_counts(torch.device("mps"))


def search(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.chdir(folder)
    GlobalHydra.instance().clear()
    quick = ("executor=serial", "tracker=none", "trainer.max_epochs=1", "max_children=2")
    monkeypatch.setattr(sys, "argv", ["nasrunner", *quick, *arguments])
    nasrunner.main()


def test_a_machine_that_reports_no_energy_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "POWERCAP", tmp_path / "nowhere")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(SystemExit, match="2"):
        search(work, monkeypatch, "objectives={val_accuracy:max,energy_j:min}")
    told = capsys.readouterr().err
    assert told.startswith("nasrunner: objectives.energy_j: this machine reports no energy of its")
    assert told.count("\n") == 1
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_the_constraint_of_monas_is_one_on_energy(
    tmp_path: Path, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objectives = "objectives={val_accuracy: max, energy_j: {goal: min, limit: 1e-9}}"
    scalarization = "scalarization={limit: {objective: val_accuracy, beyond: 0}}"
    search(tmp_path, monkeypatch, objectives, scalarization)
    (ledger,) = tmp_path.glob("outputs/*/*/ledger.jsonl")
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    outcomes = [event for event in events if event["event"] == "outcome"]
    assert [each["reward"] for each in outcomes] == [0, 0]
    for each in outcomes:
        assert each["objectives"]["energy_j"] == each["metrics"]["energy_j"] > 1e-9
        assert each["error"].startswith("objectives.energy_j.limit=1e-09: energy_j is ")


@pytest.mark.gpu
def test_the_energy_is_that_of_the_gpu_that_trained(tmp_path: Path) -> None:
    objectives = ("energy_j", "latency_ms")
    measured = train(tmp_path, "trainer.accelerator=gpu", objectives=objectives)
    watts = 1000 * measured.metrics["energy_j"] / measured.metrics["latency_ms"]
    assert 5 < watts < 2000  # of a board, with what it takes when idle
    assert 0 < measured.metrics["energy_idle_j"] < 2 * measured.metrics["energy_j"]
