"""Tries the data of cheaper trainings before any child is trained."""

from collections.abc import Iterable, Mapping
from typing import Any

from nasrunner.children.muted import without_messages
from nasrunner.children.rehearsal.checks import loaded_data
from nasrunner.children.settings.fidelity import reduced
from nasrunner.children.settings.searched import Config, Construct, variants
from nasrunner.core import InShape, NasRunnerError


def check_fidelity_data(
    config: Config,
    settings: Iterable[tuple[str, Any]],
    fidelities: Iterable[Mapping[str, float]],
    in_shape: InShape,
    construct: Construct,
) -> None:
    """Loads what is trained on at each fidelity that changes the data.

    Args:
        config: the child's configuration.
        settings: (dotted key, value with decisions in it) pairs; the first options are taken.
        fidelities: as of ``Proposal``.
        in_shape: shape of one example.
        construct: builds an object from its configuration.

    Raises:
        ConfigError, DataError: as of ``loaded_data``; names the fidelity.
    """
    settings = tuple(settings)
    for fidelity in fidelities:
        changed = reduced(config, fidelity)
        if changed["data"] == config["data"]:
            continue
        _, first = next(variants(changed, settings))
        try:
            with without_messages():
                loaded_data(first, in_shape, construct)
        except NasRunnerError as error:
            asked = ", ".join(f"{name}={number:g}" for name, number in fidelity.items())
            raise type(error)(f"{error} (at the fidelity {asked})") from error
