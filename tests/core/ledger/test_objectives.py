"""The front of children by several objectives, beside a comparison of all with all."""

from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.objectives import Objective, pareto_front

GOALS = [Objective("reward", "max"), Objective("parameters", "min"), Objective("latency", "min")]
SMALL = st.integers(0, 3)


def outcome(index: int, reward: int | None, parameters: int, latency: int) -> Outcome:
    metrics = {"parameters": float(parameters)}
    status = "failed" if reward is None else "completed"
    proposal = Proposal(index, {"a": index})
    return Outcome(proposal, status, reward, metrics, objectives={"latency": float(latency)})


@given(
    st.lists(st.tuples(st.none() | SMALL, SMALL, SMALL), max_size=12),
    st.sampled_from([GOALS[:1], GOALS[:2], GOALS]),
)
def test_nobody_on_the_front_is_dominated_and_everybody_else_is(
    values: list[tuple[int | None, int, int]], goals: list[Objective]
) -> None:
    outcomes = [outcome(index, *each) for index, each in enumerate(values)]
    scores = [[goal.score(each) for goal in goals] for each in outcomes]

    def is_beaten(i: int) -> bool:
        """By one that is better, or as good and earlier."""
        return any(
            all(a >= b for a, b in zip(scores[j], scores[i], strict=True))
            and (scores[j] != scores[i] or j < i)
            for j in range(len(outcomes))
            if j != i
        )

    front = pareto_front(outcomes, goals)
    assert sorted(front) == [i for i in range(len(outcomes)) if not is_beaten(i)]
    firsts = [scores[i][0] for i in front]
    assert firsts == sorted(firsts, reverse=True)


def test_a_child_without_a_reward_is_the_worst_at_everything() -> None:
    failed = outcome(0, None, 0, 0)
    assert [goal.score(failed) for goal in GOALS] == [float("-inf")] * 3
    assert pareto_front([failed, outcome(1, 0, 3, 3)], GOALS) == [1]
