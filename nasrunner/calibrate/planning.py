"""The cheaper trainings that a calibration makes, chosen and tried before any training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasrunner.calibrate.arguments import CalibrateArguments
from nasrunner.calibrate.cheaper import name_of, rungs_below
from nasrunner.children.settings.fidelity import reduced
from nasrunner.compose.construct import construct
from nasrunner.compose.launch import build_space, build_trainer
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.records import Proposal, Source

Fidelities = Mapping[str, Sequence[float]]
"""Name or key of a fidelity -> its numbers."""

_SHARES = {"data": (0.1, 0.3), "width": (0.25, 0.5)}


@dataclass(frozen=True)
class CheaperTrainings:
    """Cheaper trainings of a sample that data, space and trainer can give.

    Attributes:
        fidelities: at which it is trained once more.
        inherits: whether it is trained once more with inherited weights.
    """

    fidelities: Fidelities
    inherits: bool


def plan(
    arguments: CalibrateArguments, config: dict[str, Any], tell: Callable[[str], object]
) -> CheaperTrainings:
    """Chooses the cheaper trainings, and tries what they would be trained on.

    Args:
        arguments: what the command was given.
        config: the study's.
        tell: is given a sentence for each usual one that cannot be made, and is left out.

    Raises:
        ConfigError: one that was asked for cannot be made; names it.
    """
    what, given = arguments.what, arguments.fidelities
    if what not in ("fidelities", "inherited", "all"):
        return CheaperTrainings({}, inherits=False)
    trainer = build_trainer(config, build_space(config))
    fidelities: Fidelities = {}
    if what != "inherited" and given is not None:
        fidelities = given
        _check(given, trainer)
    elif what != "inherited":
        fidelities = _usual(config, trainer, tell)
    return CheaperTrainings(fidelities, what != "fidelities" and _inherits(what, trainer, tell))


def _inherits(what: str, trainer: ChildTrainer, tell: Callable[[str], object]) -> bool:
    """Whether trainings may begin with weights of others and be paused."""
    try:
        trainer.check(Proposal(0, {}, until=1, sources=(Source(0, "weights"),)))
    except ConfigError as error:
        if what == "inherited":
            raise
        tell(f"inherited weights are left out: {error}")
        return False
    if what == "inherited" and trainer.most_epochs(Proposal(0, {})) == 1:
        raise ConfigError(
            "what=inherited compares the first epochs of trainings that begin with weights of "
            "others, and trainer.max_epochs=1 leaves none before the end; legal: 2 or more"
        )
    return True


def _check(given: Fidelities, trainer: ChildTrainer) -> None:
    """Refuses fidelities that cannot be trained at, or are full trainings."""
    for name, numbers in given.items():
        for number in numbers:
            reason = _why_not(trainer, name, number) or _why_no_data(trainer, name, number)
            if reason is not None:
                raise ConfigError(f"fidelities={{{name}: [{number}]}}: {reason}")


def _usual(
    config: Mapping[str, Any], trainer: ChildTrainer, tell: Callable[[str], object]
) -> Fidelities:
    """The fidelities that are tried unless others are given: those that data and space can give."""
    epochs = trainer.most_epochs(Proposal(0, {})) or 1
    shape = config["data"].get("in_shape")
    is_image = isinstance(shape, Sequence) and len(shape) == 3
    tried: dict[str, Sequence[float]] = {
        "epochs": rungs_below(epochs),
        **_SHARES,
        "resolution": [min(shape[1:]) // 2] if is_image else [],
    }
    found: dict[str, list[float]] = {}
    for name, numbers in tried.items():
        for number in numbers:
            if _why_not(trainer, name, number) is not None:
                continue
            if (reason := _why_no_data(trainer, name, number)) is not None:
                tell(f"{name_of((name, number))} is left out: {reason}")
                continue
            found.setdefault(name, []).append(number)
    return found


def _why_not(trainer: ChildTrainer, name: str, number: float) -> str | None:
    proposal = Proposal(0, {}, fidelity={name: number})
    try:
        trainer.check(proposal)
    except ConfigError as error:
        return str(error)
    is_full = not trainer.plainest(proposal).fidelity
    return "it is the full training, with which it would be compared" if is_full else None


def _why_no_data(trainer: ChildTrainer, name: str, number: float) -> str | None:
    """Why the data of a fidelity cannot be trained on, which the studies would say later.

    Files that are not here may be where children are trained; their rehearsal looks for them.
    """
    from nasrunner.children.lightning import LightningTrainer  # imports torch

    if not isinstance(trainer, LightningTrainer):
        return None
    from nasrunner.children.rehearsal.fidelities import check_fidelities  # imports Lightning
    from nasrunner.children.rehearsal.needs import Needs

    config, settings, fidelity = trainer.config, trainer.space.hyperparameters, {name: number}
    if reduced(config, fidelity)["data"] == config["data"]:
        return None
    try:
        check_fidelities(
            config, settings, [("train", fidelity)], trainer.in_shape, construct, (), Needs()
        )
    except ConfigError as error:
        return str(error)
    except DataError:
        return None
    return None
