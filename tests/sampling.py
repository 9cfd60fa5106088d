"""Tests of many cases alike, a few of which run by default and the others in CI."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def some_in_ci(cases: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """The cases as parameters of a test, of which all but the quick ones are marked as slow."""
    return [each if each in quick else pytest.param(each, marks=pytest.mark.slow) for each in cases]
