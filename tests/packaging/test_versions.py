"""The versions that .ci/versions has installed are those it says; by default they are pinned."""

import os
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import nasrunner

VERSIONS = os.environ.get("NASRUNNER_VERSIONS", "pinned")


def named() -> list[Requirement]:
    """What pyproject.toml asks for, optional extras too, but for torch, which is always pinned."""
    every = [Requirement(text) for text in metadata.requires("nasrunner") or ()]
    return [each for each in every if each.name != "torch"]


def lowest(requirement: Requirement) -> Version:
    (bound,) = [each.version for each in requirement.specifier if each.operator == ">="]
    return Version(bound)


@pytest.mark.parametrize("requirement", named(), ids=lambda requirement: requirement.name)
def test_a_library_is_of_a_version_that_is_allowed(requirement: Requirement) -> None:
    installed = Version(metadata.version(requirement.name))
    assert installed in requirement.specifier
    if VERSIONS == "lowest":
        assert installed == lowest(requirement), "a lower bound that cannot be installed is untrue"


@pytest.mark.skipif(VERSIONS == "pinned", reason="the checkout is tested, not the wheel")
def test_the_wheel_is_tested_and_not_the_checkout() -> None:
    assert "site-packages" in nasrunner.__file__
