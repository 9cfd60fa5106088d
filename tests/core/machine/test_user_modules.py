"""Modules of a user's own that a configuration names."""

import sys
from pathlib import Path

import pytest

from nasrunner.core.machine.user_modules import find_user_modules


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, a package, and one that is called like an installed package."""
    for name in ("my_nets.py", "my_package/__init__.py", "numpy.py", "other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "is_found"),
    [
        ({"data": {"_target_": "my_nets.Data"}}, True),
        ({"space": [{"a": [{"_target_": "my_package.sub.Block"}]}]}, True),
        ({"data": {"_target_": "numpy.zeros"}}, False),
        ({"data": {"_target_": "nowhere.Data"}}, False),
        ({"data": {"root": "my_nets.Data"}}, False),
        ({"data": {"_target_": 3}, "space": None}, False),
    ],
)
def test_a_place_is_looked_at_last_and_only_for_what_is_nowhere_else(
    place: Path, config: object, is_found: bool
) -> None:
    before = list(sys.path)
    for _ in range(2):
        find_user_modules(config, lambda: [place])
    assert sys.path == ([*before, str(place)] if is_found else before)
