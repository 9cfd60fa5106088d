"""Tries the numbers of cheaper trainings, and of supernets', before any child is trained."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from nasrunner.children.muted import without_messages
from nasrunner.children.rehearsal.checks import Tried
from nasrunner.children.rehearsal.needs import Fidelity, Needs
from nasrunner.children.settings.fidelity import reduced
from nasrunner.children.settings.searched import Config, Construct, variants
from nasrunner.core import InShape, NasRunnerError, SearchSpace

_GIVEN = {"train": "at the fidelity {}", "supernet": "with searcher.supernet: {}"}
"""How an error says which numbers it is of, by what is trained with them."""


def check_fidelities(
    config: Config,
    settings: Iterable[tuple[str, Any]],
    fidelities: Iterable[Fidelity],
    in_shape: InShape,
    construct: Construct,
    networks: Sequence[SearchSpace],
    needs: Needs,
) -> None:
    """Builds every part of a child with the numbers of each fidelity, and loads its data.

    Args:
        config: the child's configuration.
        settings: (dotted key, value with decisions in it) pairs; the first options are taken.
        fidelities: those of children and of supernets.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        networks: of the space, as of ``check_child``.
        needs: what the study needs of the child.

    Raises:
        ConfigError, DataError: as of ``check_child``; names the fidelity, unless the configuration
            cannot be trained with its own numbers either.
    """
    settings = tuple(settings)

    def made() -> Tried:  # what is trained with a fidelity is not paused
        return Tried(in_shape, construct, networks, dataclasses.replace(needs, pause=None))

    tried = made()
    changed = [(kind, given, reduced(config, given)) for kind, given in fidelities]
    # The last data set that is loaded stays in memory, and children have that of the configuration.
    for kind, fidelity, each in sorted(changed, key=lambda it: it[2]["data"] == config["data"]):
        try:
            _try(tried, each, settings)
        except NasRunnerError as error:
            _try(made(), config, settings)
            asked = ", ".join(f"{name}={number:g}" for name, number in fidelity.items())
            raise type(error)(f"{error} ({_GIVEN[kind].format(asked)})") from error


def _try(tried: Tried, config: Config, settings: Sequence[tuple[str, Any]]) -> None:
    _, first = next(variants(config, settings))
    with without_messages():
        tried(first, trains=False)
