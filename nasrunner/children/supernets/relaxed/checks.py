"""Refuses what cannot be searched by gradients, before anything is trained."""

import itertools

import numpy as np

from nasrunner.children.settings.searched import Config, check_not_searched
from nasrunner.children.supernets.covering import with_every_option
from nasrunner.children.supernets.relaxed.second_order import check_steps_ahead
from nasrunner.children.supernets.relaxed.supernet import grown
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.children.supernets.skips import SkipCount
from nasrunner.core import ConfigError, Genotype, InShape, SearchSpace, SpaceError
from nasrunner.core.decision import Decision
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import living, modules_of, relaxed

_SCALED = ("16", "16-mixed")
"""Values of ``trainer.precision`` with which Lightning scales the loss."""


def check_relaxes(
    space: SearchSpace, in_shape: InShape, relaxation: Relaxation, config: Config
) -> None:
    """Refuses what cannot be searched by gradients.

    Args:
        space: what is searched.
        in_shape: of one example.
        relaxation: how.
        config: the supernet's.

    Raises:
        ConfigError: its optimizer, its precision, hyperparameters that are searched, or a most of
            skips cannot be honoured.
        SpaceError: the space has no mixture, or nothing but zeros comes out of its architectures.
    """
    check_not_searched(space.hyperparameters)
    precision = str(config["trainer"].get("precision"))
    if precision in _SCALED:
        raise ConfigError(
            f"trainer.precision={precision} scales the loss of the weights, and the gradients of "
            "the options' weights, which have none of it, would be lost in half precision; legal: "
            "bf16-mixed or 32-true"
        )
    if relaxation.order == "second":
        check_steps_ahead(config["optimizer"].get("_target_"))
    widths: Widths = config["trainer"]["shared_widths"]
    weights = SharedWeights(space, in_shape, widths=widths, device="meta")
    grown(weights, relaxed(space), affine=relaxation.affine)
    if relaxation.max_skips is not None and not SkipCount(space).can_skip():
        raise ConfigError(
            f"searcher.max_skips={relaxation.max_skips} ends training by the options that pass "
            "their input on, such as empty, and no decision of the space has one beside others "
            "(activations of recurrent cells are none); legal: null"
        )
    _check_lives(space)


def _check_lives(space: SearchSpace) -> None:
    """Refuses a space whose architectures return zeros, whatever is chosen."""
    first = _least_dead(space)
    others = with_every_option(space, np.random.default_rng(0))
    if all(living(space.freeze(each)).network.is_zero for each in itertools.chain([first], others)):
        dead = next((each for each in first if _returns_zeros(space, first, each)), None)
        where = "" if dead is None else f": all options of {dead!r} are zeros"
        raise SpaceError(
            f"nothing of its input reaches the output of any architecture of the space{where}; "
            "legal: an option that is not zero on a path from input to output"
        )


def _least_dead(space: SearchSpace) -> Genotype:
    """An architecture with as few zeros as its decisions allow."""
    known: Genotype = {}
    while True:
        asked: list[Decision] = []

        def choose(decision: Decision) -> int:
            asked.append(decision)  # noqa: B023 - called here
            return known.get(decision.path, 0)

        genotype = space.walk(choose)
        left = [each for each in asked if each.path not in known]
        if not left:
            return genotype
        decision = left[0]
        options = modules_of(space, genotype, decision) if len(decision.options) > 1 else []
        alive = (k for k, each in enumerate(options) if not any(map(_is_dead, each)))
        known[decision.path] = next(alive, 0)


def _returns_zeros(space: SearchSpace, genotype: Genotype, path: str) -> bool:
    """Whether all options of a decision are made of zeros."""
    asked: list[Decision] = []

    def choose(decision: Decision) -> int:
        asked.append(decision)
        return genotype[decision.path]

    space.walk(choose)
    decision = next(each for each in asked if each.path == path)
    options = modules_of(space, genotype, decision)
    return bool(options) and all(any(map(_is_dead, each)) for each in options)


def _is_dead(module: object) -> bool:
    return bool(living(module).is_zero)  # type: ignore[type-var, attr-defined]
