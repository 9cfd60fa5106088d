"""Errors a user can cause. Every message names the rule, the value, what is legal, and where."""

import difflib
from collections.abc import Iterable


class NasRunnerError(Exception):
    """Anything a user can cause and mend; the command line prints it as one sentence."""


class ConfigError(NasRunnerError):
    """A value in the configuration is not usable; the message names its key."""


class SpaceError(NasRunnerError):
    """A search space, a genotype of it or a network built from it is impossible."""


class DataError(NasRunnerError):
    """A data set's file is missing, damaged or does not hold what the configuration says."""


class LedgerError(NasRunnerError):
    """A study's ledger cannot be continued as it stands."""


class TrackingError(NasRunnerError):
    """A tracker is away, or does not do what it was asked."""


class NotFetchableError(TrackingError):
    """A tracker lacks what a study is read from."""


class MachineError(NasRunnerError):
    """The machine has a fault, a full disk for one: what it interrupted is not recorded.

    A study ends with it; what was in flight is trained when it is resumed.
    """


class LostFileError(MachineError):
    """A file that a study has written, and needs, is gone or another one stands in its place.

    A study ends with it, and goes on once the file is back.
    """


def suggest(name: str, legal: Iterable[str]) -> str:
    """Returns the end of an error message: the nearest legal names, then all of them, sorted."""
    names = sorted(legal)
    return suggest_among(name, names, ", ".join(names) or "none")


def suggest_among(name: str, legal: Iterable[str], told: str) -> str:
    """Returns the end of an error message: the nearest legal names, then what is legal in words."""
    near = nearest(name, legal)
    return (
        f"did you mean {' or '.join(map(repr, near))}? Legal: {told}" if near else f"legal: {told}"
    )


def nearest(name: str, legal: Iterable[str]) -> list[str]:
    """Returns the one or two legal names that a misspelt one may mean; none where none is near."""
    names = sorted(legal)
    initials = "".join(word[:1] for word in name.lower().split("_"))  # learning_rate: lr
    if initials in names:
        return [initials]
    if below := [each for each in names if each.endswith(f".{name}")]:  # lr: optimizer.lr
        return below[:2]
    near = difflib.get_close_matches(name, names, n=2)
    ratios = [difflib.SequenceMatcher(None, each, name).ratio() for each in near]
    return sorted(near) if len(set(ratios)) == 1 else near[:1]
