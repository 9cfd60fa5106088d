"""The front of children by several objectives, beside a comparison of all with all."""

from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.objectives import Objective, ObjectiveScores, pareto_front

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


def test_what_was_not_trained_is_as_bad_as_the_worst_and_as_far_beyond_as_it_is() -> None:
    scores = ObjectiveScores([Objective("reward", "max"), Objective("flops", "min", limit=10)])

    def of(
        index: int, reward: float | None, flops: float
    ) -> tuple[tuple[float, ...], float] | None:
        known = {"flops": flops} if reward is None else {"flops": flops, "reward": reward}
        metrics = {"epochs": 0.0 if reward is None else 5.0}
        proposal = Proposal(index, {"a": index})
        return scores.of(Outcome(proposal, "completed", reward, metrics, objectives=known))

    assert of(0, None, 15) == ((0.0, -15.0), 0.5)
    assert of(1, -2, 4) == ((-2.0, -4.0), 0.0)
    assert of(2, None, 30) == ((-2.0, -30.0), 2.0)
    failed = Outcome(Proposal(3, {"a": 3}), "failed")
    assert scores.of(failed) == ((-2.0, -4.0), float("inf"))  # 30 was of no training
