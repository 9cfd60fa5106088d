from pathlib import Path

import pytest

from nasrunner.children.rehearsal import samples
from nasrunner.core import ConfigError
from nasrunner.core.machine import memory
from nasrunner.spaces.language.parsing import parse_space


def test_a_limit_of_the_cgroup_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = memory.memory_gb()
    assert there > 0.1
    limits = [tmp_path / name for name in ("none", "max", "limit")]
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text(f"{5 * 10**7}\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", limits)
    assert memory.memory_gb() == 0.05


def test_networks_that_no_memory_holds_are_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "memory_gb", lambda: 16.0)
    units = {"affine": {"units": {"oneof": [10**9, 8]}}}
    mixed = parse_space({"concat": [units, units, {"affine": {"units": 2}}]})
    found = samples.sampled(mixed, (1,), 2, "float32")
    texts = [frozen.network.text() for frozen in found.networks]
    assert texts[0] == "2×[affine(units=8)] → affine(units=2)"
    assert not any("2×[affine(units=1000000000)]" in text for text in texts)
    large = {"affine": {"units": 10**9}}
    space = parse_space({"concat": [large, large, {"affine": {"units": 2}}]})
    with pytest.raises(ConfigError, match=r"smallest takes 8e\+09 GB .* this machine has 16 GB"):
        samples.sampled(space, (1,), 2, "float32")
