"""What a searcher may propose, looked at before it is recorded: a ledger holds nothing else."""

from collections.abc import Mapping
from typing import Any

from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.goal_settings import check_limits
from nasrunner.core.ledger.goals import Goals
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.records import MEASURED, Proposal, Source
from nasrunner.core.searcher import Searcher


def check_example(example: Proposal, trainer: ChildTrainer, searcher: str) -> None:
    """Refuses a searcher that asks for what the trainer does not do.

    Args:
        example: of what it asks for, see ``Searcher.asks_for``.
        trainer: the study's.
        searcher: whose proposals these are, for the error.

    Raises:
        ConfigError: the trainer says so, or a part of a training would be all of it.
    """
    if example.is_prediction:
        return
    trainer.check(example)
    if example.kind == "supernet" or (not example.until and not example.fidelity):
        return
    asked = f"until={example.until}" if example.until else f"fidelity={dict(example.fidelity)}"
    least, most = trainer.most_epochs(example), trainer.most_epochs(Proposal(0, {}))
    is_longer = bool(least and most and least > most)
    if is_longer or not trainer.plainest(example).asked:
        more = f"more than the {most} epochs" if is_longer else "all"
        raise ConfigError(
            f"searcher: {searcher} asks for a part of a training with {asked}, which is {more} of "
            "it as configured; legal is less than that"
        )


def check_listens(searcher: Searcher, trainer: ChildTrainer) -> None:
    """Refuses a searcher that listens to children which do not report what it must hear.

    Raises:
        ConfigError: the trainer says so.
    """
    trainer.check_heard(searcher.hears)
    if not trainer.reports:
        raise ConfigError(
            f"searcher: {searcher.known_as} stops children by what they report while they train, "
            f"and those of trainer={type(trainer).__name__} report nothing; legal with it are "
            "searchers that learn outcomes alone, such as searcher=random"
        )


def check_beginning(
    searcher: Searcher, trainer: ChildTrainer, goals: Goals | None, config: Mapping[str, Any]
) -> None:
    """Refuses settings that no study begins with, and without which it would search alike.

    Earlier versions did not, so that what they began goes on with them.

    Args:
        searcher: the study's, as are the others.
        trainer: turns genotypes into rewards.
        goals: what children are compared by; None: their rewards.
        config: resolved.

    Raises:
        ConfigError: the searcher ignores a setting or was told another length of trainings than
            they have, or no network is within a limit.
    """
    if searcher.ignored is not None:
        raise ConfigError(f"searcher: {searcher.ignored}")
    _check_whole(searcher, trainer, config)
    if goals is not None:
        check_limits(goals.objectives)


def _check_whole(searcher: Searcher, trainer: ChildTrainer, config: Mapping[str, Any]) -> None:
    """Refuses other epochs of a whole training than it has; what steps end has unknown ones."""
    most = trainer.most_epochs(Proposal(0, {}))
    wrong = next((each for each in searcher.whole_epochs if each != most), None)
    max_steps = config.get("trainer", {}).get("max_steps")
    if most is not None and wrong is not None and max_steps in (None, -1):
        raise ConfigError(
            f"searcher.max_epochs={wrong} must be the epochs of a whole training, which has {most} "
            "by trainer.max_epochs: it is that by default, and changes with trainer.max_epochs"
        )


def check_proposal(proposal: Proposal, state: StudyState, searcher: str) -> None:
    """Refuses a proposal that does not follow from what was proposed and recorded before.

    Args:
        proposal: the next one.
        state: the study's.
        searcher: whose proposal it is, for the error.

    Raises:
        ConfigError: its index is not the next one, ``until`` is no whole number, or a source was
            not proposed, has not ended, was not trained, or has come as far as ``until`` already.
    """
    if proposal.index != len(state.proposals):
        raise ConfigError(
            f"searcher: {searcher} must number its proposals 0, 1, 2, …: the next is "
            f"{len(state.proposals)}, got {proposal.index}"
        )
    if proposal.until is not None and type(proposal.until) is not int:
        raise ConfigError(
            f"searcher: {searcher} must pause after a whole number of epochs, got "
            f"until={proposal.until!r}"
        )
    for source in proposal.sources:
        if reason := _why_not(source, proposal, state):
            raise ConfigError(
                f"searcher: child {proposal.index} of {searcher} cannot take over the "
                f"{source.what} of child {source.child}, {reason}"
            )


def _why_not(source: Source, proposal: Proposal, state: StudyState) -> str | None:
    """Why nothing can be taken over from a source; None: it can."""
    if source.child not in state.proposals:
        return "which was not proposed"
    if source.child in state.in_flight:
        return "which has not ended"
    outcome = state.outcomes[source.child]
    if outcome.reused_from is not None:
        return f"which was not trained but repeats child {outcome.reused_from}; legal is that one"
    shares = outcome.proposal.kind == "supernet"
    is_source = outcome.proposal.kind == "train" or (shares and source.what == "weights")
    if not is_source or outcome.status not in MEASURED:
        what = outcome.status if is_source else "no child"
        return f"which is {what}; legal are children that were completed, paused or stopped"
    epochs = state.num_epochs.get(source.child, 0)
    if source.what == "training" and proposal.until is not None and proposal.until <= epochs:
        return f"which was trained for {epochs} epochs; legal is until > {epochs}"
    return None
