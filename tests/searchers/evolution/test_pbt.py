"""Population-based training: who goes on as whose copy, with which hyperparameters."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.searchers.evolution.pbt import PopulationBasedTraining
from nasrunner.spaces.language.parsing import parse_space
from tests.contracts.trainers import EPOCHS, METRIC, EpochsTrainer
from tests.study.test_loop import Crash, Run, events, with_rules
from tests.toys import ToyExecutor

RATE, RULE, UNITS = "hyperparameters/optimizer.lr", "hyperparameters/a.rule", "0/affine/units"


def searched() -> Any:
    return parse_space(
        {
            "hyperparameters": {
                "optimizer.lr": {"logspace": [1e-4, 1e-1, 16]},
                "a.rule": {"oneof": ["none", "linear", "sqrt"]},
            },
            "concat": [{"affine": {"units": {"oneof": [4, 8, 16, 32]}}}],
        }
    )


def pbt(**changes: Any) -> Callable[..., PopulationBasedTraining]:
    arguments = {
        "population_size": 5,
        "interval": 2,
        "max_epochs": EPOCHS,
        "truncation": 0.2,
        "resample": 0.25,
        **changes,
    }
    return functools.partial(PopulationBasedTraining, **arguments)


def ended(searcher: PopulationBasedTraining, proposal: Proposal, reward: float | None) -> None:
    status = "completed" if proposal.until is None else "paused"
    failure = Outcome(proposal, "failed", error="it broke")
    searcher.observe(failure if reward is None else Outcome(proposal, status, reward))


def begun(rewards: list[float], **changes: Any) -> PopulationBasedTraining:
    searcher = pbt(**changes)(space=searched(), seed=0)
    proposals = [searcher.propose() for _ in rewards]
    for proposal, reward in zip(proposals, rewards, strict=True):
        assert (proposal.until, proposal.sources) == (2, ())
        ended(searcher, proposal, reward)
    return searcher


def test_the_worst_goes_on_as_a_copy_of_the_best_and_the_others_as_they_are() -> None:
    searcher = begun([0.3, 0.5, 0.1, 0.4, 0.2])
    first = {number: m.states[2].genotype for number, m in searcher.members.items()}
    going_on = [searcher.propose() for _ in range(5)]
    assert [each.continues for each in going_on] == [0, 1, 1, 3, 4]
    assert [each.until for each in going_on] == [4] * 5
    for number in (0, 1, 3, 4):
        assert going_on[number].genotype == first[number]
    copy = going_on[2].genotype
    assert copy[UNITS] == first[1][UNITS]
    assert copy != first[1]
    assert not searcher.is_ready


def test_rewards_are_compared_after_equal_epochs() -> None:
    """A member that is behind does not lose to one that is ahead because of that."""
    searcher = begun([0.1, 0.2, 0.3, 0.4, 0.5], truncation=0.4)
    order = [searcher.propose() for _ in range(2)]
    assert [each.continues in (3, 4) for each in order] == [True, True]  # 0 and 1 are the worst
    for each in order:
        ended(searcher, each, 0.9)
    third = searcher.propose()
    assert third.continues == 2  # 0.3 is no longer among the highest rewards, but the third of five
    assert third.genotype == searcher.members[2].states[2].genotype


def test_an_explored_hyperparameter_moves_one_option_or_is_drawn_anew() -> None:
    moved: list[int] = []
    for resample in (0.0, 1.0):
        moved = []
        for seed in range(40):
            searcher = pbt(resample=resample)(space=searched(), seed=seed)
            proposals = [searcher.propose() for _ in range(5)]
            for place, each in enumerate(proposals):
                ended(searcher, each, float(-place))
            copies = [searcher.propose() for _ in range(5)]
            best, copy = proposals[0].genotype, copies[4].genotype
            assert copies[4].continues == 0
            moved.append(abs(copy[RATE] - best[RATE]))
            if resample == 0.0:
                assert copy[RULE] == best[RULE]  # its options have no order
        if resample == 0.0:
            assert set(moved) <= {0, 1}
            assert moved.count(1) > 30  # 0 at either end of the options alone
    assert len(set(moved)) > 5


def test_few_workers_bring_the_population_forward_together() -> None:
    searcher = pbt()(space=searched(), seed=0)
    untils = []
    while (proposal := searcher.propose()) is not None:
        untils.append(proposal.until)
        ended(searcher, proposal, 0.5)
    assert untils == [2] * 5 + [4] * 5 + [None] * 5
    assert searcher.why_done == "all 5 members of the population were trained to their ends"


def test_a_member_that_fails_goes_on_as_a_copy_or_begins_anew() -> None:
    searcher = pbt(population_size=5)(space=searched(), seed=0)
    first = [searcher.propose() for _ in range(5)]
    for each, reward in zip(first, [None, 0.2, 0.3, 0.4, 0.5], strict=True):
        ended(searcher, each, reward)
    anew = searcher.propose()
    assert (anew.sources, anew.notes["member"]) == ((), 5)
    assert anew.genotype not in [each.genotype for each in first]
    ended(searcher, anew, 0.6)
    going_on = [searcher.propose() for _ in range(5)]
    ended(searcher, going_on[1], None)
    again = searcher.propose()
    assert again.notes["member"] == going_on[1].notes["member"]
    assert again.continues == 5  # the best of those that came as far


def test_an_impossible_network_is_no_member() -> None:
    """By the study's rules a searcher may be told a reward of it."""
    searcher = pbt(population_size=2, truncation=0.5)(space=searched(), seed=0)
    first, second = searcher.propose(), searcher.propose()
    ended(searcher, first, 0.5)
    searcher.observe(Outcome(second, "invalid", 0.5))
    anew = searcher.propose()
    assert (anew.sources, anew.notes["member"]) == ((), 2)


def test_what_is_gone_on_with_is_needed() -> None:
    searcher = begun([0.3, 0.5, 0.1, 0.4, 0.2])
    assert set(searcher.needs()) == {0, 1, 2, 3, 4}
    proposal = searcher.propose()
    ended(searcher, proposal, 0.35)
    assert set(searcher.needs()) == {
        0,
        1,
        2,
        3,
        4,
        5,
    }  # the worst may still copy what 0 had come to
    for _ in range(4):
        ended(searcher, searcher.propose(), 0.3)
    assert set(searcher.needs()) == {5, 6, 7, 8, 9}


def test_an_outcome_that_is_reused_is_gone_on_with_where_it_was_trained() -> None:
    searcher = pbt(population_size=2, truncation=0.5)(space=searched(), seed=0)
    first, second = searcher.propose(), searcher.propose()
    ended(searcher, first, 0.9)
    searcher.observe(Outcome(second, "paused", 0.8, reused_from=0))
    assert {searcher.propose().continues, searcher.propose().continues} == {0}


def run(folder: Path, slots: int = 1, **changes: Any) -> Run:
    folder.mkdir(exist_ok=True)
    space = searched()
    rules = with_rules(**{"max_children": 8, **changes})
    return Run(
        folder, space, rules, pbt(), executor=ToyExecutor(slots), trainer=EpochsTrainer(space)
    )


@pytest.mark.parametrize("slots", [1, 3])
def test_a_study_trains_each_member_to_its_end(tmp_path: Path, slots: int) -> None:
    summary = run(tmp_path, slots).run()
    assert summary.reason == "all 5 members of the population were trained to their ends"
    outcomes = {event["index"]: event for event in events(tmp_path, "outcome")}
    proposed = events(tmp_path, "proposed")
    assert sum("sources" not in event for event in proposed) == 5
    through = [event for event in outcomes.values() if event["status"] == "completed"]
    assert len(through) == 5
    assert all(len(event["curve"][METRIC]) == EPOCHS for event in through)
    copied = [e for e in proposed if "sources" in e and changed(e, proposed)]
    assert copied


def sources(event: dict[str, Any]) -> list[int]:
    return [each["child"] for each in event.get("sources", ())]


def changed(event: dict[str, Any], proposed: list[dict[str, Any]]) -> bool:
    (source,) = event["sources"]
    return bool(proposed[source["child"]]["notes"] != event["notes"])


def test_a_member_that_is_stopped_has_not_come_as_far_as_the_others() -> None:
    searcher = begun([0.3, 0.5, 0.1, 0.4, 0.2])
    going_on = [searcher.propose() for _ in range(5)]
    searcher.observe(Outcome(going_on[1], "stopped", 0.99))
    for place in (0, 2, 3, 4):
        ended(searcher, going_on[place], 0.6 + place / 100)
    copied = [searcher.propose() for _ in range(4)]
    assert [each.continues for each in copied] == [9, 7, 8, 9]  # 5, the worst, as a copy of 9
    for each in copied:
        ended(searcher, each, 0.7)
    assert searcher.propose() is None


STOPPED = 7  # it goes on from 2 epochs to 4


def stopped_from_outside(folder: Path) -> Run:
    """A study of which somebody stops a member after its third epoch."""
    study = run(folder)
    StopFile(child_folder(folder, STOPPED)).write(3)
    return study


def test_a_member_that_is_stopped_from_outside_is_compared_as_it_was_before(
    tmp_path: Path,
) -> None:
    stopped_from_outside(tmp_path).run()
    outcomes = {event["index"]: event for event in events(tmp_path, "outcome")}
    assert outcomes[STOPPED]["status"] == "stopped"
    assert len(outcomes[STOPPED]["curve"][METRIC]) == 3
    proposed = events(tmp_path, "proposed")
    member = proposed[STOPPED]["notes"]["member"]
    assert STOPPED not in [child for event in proposed for child in sources(event)]
    assert member not in [event["notes"]["member"] for event in proposed[STOPPED + 1 :]]
    assert sum(each["status"] == "completed" for each in outcomes.values()) == 4


@pytest.mark.parametrize("num_events", [17, 18, 19, 25])
def test_a_member_that_is_stopped_from_outside_is_when_its_driver_dies_too(
    tmp_path: Path, num_events: int
) -> None:
    stopped_from_outside(tmp_path / "whole").run()
    study = stopped_from_outside(tmp_path / "parts")
    append, left = study.ledger.append, iter(range(num_events - 1))

    def then_die(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    study.ledger.append = then_die  # type: ignore[method-assign]
    with pytest.raises(Crash):
        study.run()
    run(tmp_path / "parts").run()
    for kind in ("proposed", "outcome"):
        assert events(tmp_path / "parts", kind) == events(tmp_path / "whole", kind)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truncation": 0.1}, "truncation must be at least a member of the population, 0.2"),
        ({"interval": 6}, "max_epochs must be more than interval=6, or no member is ever compared"),
        ({"max_epochs": None}, "got None; it is trainer.max_epochs by default"),
        ({"population_size": 500}, "population_size must be at most 192, the architectures"),
    ],
)
def test_a_population_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pbt(**changes)(space=searched(), seed=0)


def test_a_space_without_hyperparameters_is_refused() -> None:
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [1, 2, 3, 4, 5, 6]}}}]})
    with pytest.raises(ValueError, match=r"space.hyperparameters must have decisions"):
        pbt()(space=space, seed=0)


def test_a_budget_below_the_population_is_told() -> None:
    searcher = pbt()(space=searched(), seed=0)
    assert searcher.advice(5) is None
    assert "begins no more members than these" in (searcher.advice(4) or "")
