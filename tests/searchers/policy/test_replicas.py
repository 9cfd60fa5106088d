"""K replicas of a controller, m children each, as in section 3.2 of Zoph & Le 2017."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given

from nasrunner.core import Outcome, Proposal, StudyInfo
from nasrunner.searchers.policy.objectives import Ppo, Reinforce
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.searchers.policy.test_policy_gradient import reinforce
from tests.searchers.test_contract import few_examples, schedules
from tests.searchers.worlds import Loop, load_space, reward_of
from tests.toys import RULES, ToyExecutor, ToyTrainer, chain


def replicated(replicas: int, children: int, **changes: Any) -> PolicyGradient:
    return reinforce(load_space("mlp"), replicas=replicas, children_per_replica=children, **changes)


def proposed(searcher: PolicyGradient, number: int) -> list[Proposal]:
    """So many children, for which the searcher must be ready."""
    found = []
    for _ in range(number):
        assert searcher.is_ready
        proposal = searcher.propose()
        assert proposal is not None
        found.append(proposal)
    return found


def tell(searcher: PolicyGradient, proposal: Proposal, reward: float | None = 0.5) -> None:
    status = "failed" if reward is None else "completed"
    searcher.observe(Outcome(proposal, status, reward))


def weights(searcher: PolicyGradient) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in searcher.controller.parameters()]


def differ(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_nothing_is_proposed_while_all_replicas_wait() -> None:
    searcher = replicated(2, 3)
    children = proposed(searcher, 6)
    assert not searcher.is_ready
    for child in children[:2] + children[3:5]:
        tell(searcher, child, reward_of(child))
        assert not searcher.is_ready  # one child of each replica is still training
    tell(searcher, children[5], 0.7)
    proposed(searcher, 3)
    assert not searcher.is_ready


def test_a_replica_draws_its_children_with_one_copy_of_the_weights() -> None:
    searcher = replicated(2, 3)
    first = proposed(searcher, 3)
    second = proposed(searcher, 1)
    for child in first:
        tell(searcher, child, reward_of(child))
    assert searcher.num_updates == 1
    second += proposed(searcher, 2)
    third = proposed(searcher, 3)
    assert [child.notes["update"] for child in first + second + third] == [0] * 6 + [1] * 3
    unchanged = replicated(2, 3)
    assert [c.genotype for c in proposed(unchanged, 6)] == [c.genotype for c in first + second]


def test_a_gradient_is_computed_on_the_copy_and_applied_to_the_newest_weights() -> None:
    searcher = replicated(2, 1, learning_rate=0.1)
    one, other = proposed(searcher, 2)
    by_hand = replicated(2, 1)
    torch.autograd.backward(by_hand.loss([(other, -0.3)], by_hand.controller))
    expected = [weight.grad for weight in by_hand.controller.parameters()]
    searcher.baseline = 0.0
    tell(searcher, one, 0.5)
    between = weights(searcher)
    searcher.baseline = 0.8
    applied: list[list[torch.Tensor]] = []
    step = searcher.optimizer.step

    def record() -> None:
        applied.append([weight.grad.clone() for weight in searcher.controller.parameters()])  # type: ignore[union-attr]
        step()

    searcher.optimizer.step = record  # type: ignore[method-assign, assignment]
    tell(searcher, other, 0.5)
    assert differ(weights(by_hand), between)  # else it were the same gradient by chance
    for found, wanted in zip(applied[0], expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert differ(between, weights(searcher))


def test_ppo_corrects_for_the_copy_on_the_newest_weights() -> None:
    searcher = replicated(2, 1, objective=Ppo(clip=0.5, num_steps=1), learning_rate=0.1)
    one, other = proposed(searcher, 2)
    searcher.baseline = 0.0
    tell(searcher, one, 0.5)
    searcher.controller.zero_grad()
    torch.autograd.backward(searcher.loss([(other, 0.5)], searcher.controller))
    expected = [weight.grad.clone() for weight in searcher.controller.parameters()]  # type: ignore[union-attr]
    searcher.baseline = 0.0
    tell(searcher, other, 0.5)
    for weight, wanted in zip(searcher.controller.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, wanted)


@pytest.mark.parametrize("objective", [Reinforce(), Ppo(clip=0.5, num_steps=1)])
def test_gradients_of_several_batches_make_one_update(objective: Any) -> None:
    """As the parameter servers do for language models: section 4.2."""
    searcher = replicated(3, 1, batches_per_update=3, objective=objective)
    children = proposed(searcher, 3)
    expected = 0.0
    for child, advantage in zip(children, (0.5, -0.2, 0.1), strict=True):
        searcher.controller.zero_grad()
        torch.autograd.backward(searcher.loss([(child, advantage)], searcher.controller))
        expected = expected + searcher.controller.head.weight.grad / 3  # type: ignore[operator]
    before = weights(searcher)
    for child, advantage in zip(children, (0.5, -0.2, 0.1), strict=True):
        assert not differ(before, weights(searcher))
        searcher.baseline = 0.0
        tell(searcher, child, advantage)
    assert searcher.num_updates == 1
    assert differ(before, weights(searcher))
    torch.testing.assert_close(searcher.controller.head.weight.grad, expected)


def test_children_without_a_reward_end_a_batch_but_teach_nothing() -> None:
    searcher = replicated(1, 2)
    before = weights(searcher)
    for child in proposed(searcher, 2):
        tell(searcher, child, None)
    assert searcher.is_ready
    assert not differ(before, weights(searcher))
    assert searcher.num_updates == 0
    failed, completed = proposed(searcher, 2)
    tell(searcher, completed, 0.9)
    assert not searcher.is_ready
    searcher.baseline = 0.0
    tell(searcher, failed, None)
    assert searcher.num_updates == 1


@pytest.mark.parametrize("objective", [Reinforce(), Ppo(clip=0.2, num_steps=2)])
@few_examples
@given(schedule=schedules)
def test_resumed_equals_uninterrupted(
    objective: Any, schedule: list[tuple[bool, int, bool]]
) -> None:
    def searcher() -> PolicyGradient:
        return replicated(2, 2, objective=objective, batches_per_update=2)

    steps = [*schedule, *schedule]
    whole = Loop(searcher()).play(steps)
    for cut in (5, 14):
        resumed = Loop(searcher()).replay(whole.events[:cut]).play(steps[cut:])
        assert resumed.events == whole.events


def test_a_study_with_more_slots_than_children_of_replicas_waits_and_ends(
    tmp_path: Path,
) -> None:
    space = chain()
    executor = ToyExecutor(slots=10)
    busy: list[int] = []
    executor.on_wait = lambda: busy.append(len(executor.running))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        summary = Study(
            space=space,
            searcher=reinforce(space, replicas=2, children_per_replica=3, seed=RULES.seed),
            trainer=ToyTrainer(space),
            executor=executor,
            trackers=[],
            ledger=ledger,
            rules=replace(RULES, max_children=30),
            info=StudyInfo("toy", tmp_path, {}, 30),
        ).run()
    assert sum(summary.counts.values()) == 30
    assert max(busy) == 6
    assert busy[:2] == [6, 5]  # the sixth child's place stays empty until its batch has ended


def test_a_budget_below_a_batch_is_told_to_be_a_random_search() -> None:
    searcher = replicated(2, 8)
    assert searcher.advice(9) is None
    assert searcher.advice(None) is None
    assert "makes this a random search" in (searcher.advice(8) or "")
