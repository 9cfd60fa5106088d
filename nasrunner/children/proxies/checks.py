"""Tries to score networks before a study's first child, so that mistakes show at once."""

from collections.abc import Iterable, Sequence
from typing import Any

from nasrunner.children.fit.assembling import first_network
from nasrunner.children.muted import without_messages
from nasrunner.children.proxies.batch import FirstBatch, first_batch
from nasrunner.children.proxies.scores import Scores, scores
from nasrunner.children.rehearsal.checks import loaded_data
from nasrunner.children.rehearsal.shortened import on_one_device
from nasrunner.children.rehearsal.telling import one_line, told_of_data
from nasrunner.children.settings.searched import Config, Construct, variants
from nasrunner.core import ConfigError, InShape, NasRunnerError, SearchSpace

_LOOKED_AT = ("data", "task")
"""The groups of a child's configuration that its score depends on."""


def check_scores(
    config: Config,
    settings: Iterable[tuple[str, Any]],
    in_shape: InShape,
    construct: Construct,
    networks: Sequence[SearchSpace],
    names: Sequence[str],
    batch_size: int | None = None,
) -> None:
    """Scores networks on the first batch, with every option of each hyperparameter that matters.

    Args:
        config: the child's configuration.
        settings: (dotted key, ``OneOf`` or its value) of the space's hyperparameters.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        networks: frozen spaces, smallest network first; those after the first are tried where a
            proxy says nothing of that.
        names: of the proxies.
        batch_size: as of ``first_batch``.

    Raises:
        ConfigError: data, task or accelerator cannot be built, or a proxy says nothing of any
            network.
        DataError: as of ``first_batch``.
    """
    tried: list[tuple[Any, ...]] = []
    for option, variant in variants(config, tuple(settings)):
        looked_at = tuple(variant[group] for group in _LOOKED_AT)
        if looked_at in tried:
            continue
        tried.append(looked_at)
        try:
            with without_messages():
                data = loaded_data(_on_one_device(variant), in_shape, construct)
                with told_of_data(data, "its first batch cannot be had"):
                    batch = first_batch(variant, 0, construct, batch_size)
                _check_networks(variant, in_shape, networks, names, batch)
        except NasRunnerError as error:
            where = f" (with space.hyperparameters {option})" if option else ""
            raise type(error)(f"{error}{where}") from error


def _on_one_device(config: Config) -> Config:
    return {**config, "trainer": on_one_device(config["trainer"])}


def _check_networks(
    config: Config,
    in_shape: InShape,
    networks: Sequence[SearchSpace],
    names: Sequence[str],
    batch: FirstBatch,
) -> None:
    """Refuses proxies that say nothing of any network."""
    missing: dict[str, str] = {}
    for place, frozen in enumerate(networks):
        asked = list(names) if place == 0 else list(missing)
        network = first_network(frozen, in_shape, 0, config).to(batch.device)
        try:
            found = scores(network, batch.x, batch.loss, asked)
        except Exception as error:  # of a user's module, or of the loss
            found = Scores({}, dict.fromkeys(asked, f"{type(error).__name__}: {one_line(error)}"))
        missing = {name: found.reasons[name] for name in asked if name in found.reasons}
        if not missing:
            return
    for name, reason in missing.items():
        counted = "the network" if len(networks) == 1 else f"each of {len(networks)} networks"
        raise ConfigError(f"trainer: {name} says nothing of {counted} that was tried: {reason}")


def remarks(settings: Iterable[tuple[str, Any]]) -> list[str]:
    """Says which hyperparameters are searched in vain, where nothing is trained."""
    vain = [key for key, _ in settings if key.partition(".")[0] not in _LOOKED_AT]
    if not vain:
        return []
    verb = "changes" if len(vain) == 1 else "change"
    return [
        f"{', '.join(vain)} {verb} no score: zero-cost proxies look at networks before training"
    ]
