"""The living part of a frozen network: without what no path from its input to its output needs."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nasrunner.core.space.asking import overrides_alone
from nasrunner.core.space.part import Part

S = TypeVar("S", bound=Part)


@dataclass(frozen=True)
class Pruning:
    """Puts zeros in the place of the dead parts of a frozen module.

    Attributes:
        keeps_constants: whether what is made of zeros alone is kept: a bias behind zeros is
            learned, and adds a constant.
        dead_labels: labels that stand for zeros.
    """

    keeps_constants: bool
    dead_labels: frozenset[str] = frozenset()

    def __call__(self, part: Part) -> Any:
        """The module without its dead parts; itself where it has none."""
        kind = type(part)
        if overrides_alone(kind, "make", "pruned") or overrides_alone(kind, "trace", "pruned"):
            return part
        return part.pruned(self)

    def where(self, label: str, *, is_zero: bool) -> "Pruning":
        """Returns the pruning of a part in which a label stands for zeros, or does not."""
        others = self.dead_labels - {label}
        return replace(self, dead_labels=others | {label} if is_zero else others)


def living(frozen: S, *, keeps_constants: bool = False) -> S:
    """Returns a frozen module as a person reads it: zeros stand in the place of its dead parts.

    Dead is what no path from the input to the output leads through. Everything else stays where
    it is, so that its weights have the same names in the network that is built.

    Args:
        frozen: it is not changed.
        keeps_constants: as of ``Pruning``; then the network computes the very same, whatever its
            weights are.
    """
    found: S = Pruning(keeps_constants)(frozen)
    return found
