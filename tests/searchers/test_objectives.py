"""Searchers that compare children by several objectives: what they promise, and that they do."""

import dataclasses
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Outcome, Proposal, Searcher
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.ledger.goals import Goals
from nasrunner.core.ledger.hypervolume import dominated
from nasrunner.searchers.evolution.evolution import RegularizedEvolution
from tests.searchers.worlds import (
    CONF,
    HURRY,
    OF_OBJECTIVES,
    WRAPPERS,
    Loop,
    Step,
    load_space,
    make_searcher,
    reward_of,
)

LIMITED = {"reward": "max", "size": {"goal": "min", "limit": 4}}
VARIANTS: dict[str, dict[str, Any]] = {
    "evolution": {},
    "without_ageing": {"ageing": False},
    "with_crossover": {"crossover": 0.5, "ageing": False},
}
SEARCHERS = ["nsga2", "motpe", *VARIANTS]
every_searcher = pytest.mark.parametrize("name", SEARCHERS)
steps = st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from([False, False, True]))


def goals(objectives: dict[str, Any]) -> Goals:
    read = read_goals({"objectives": objectives})
    assert read is not None
    return read


def made(name: str, space: str, compared: Goals, seed: int = 0) -> Searcher:
    if name in VARIANTS:
        searcher: Searcher = RegularizedEvolution(
            population_size=8,
            tournament_size=4,
            learns="objectives",
            space=load_space(space),
            seed=seed,
            **VARIANTS[name],
        )
    else:
        searcher = make_searcher(name, space, seed)
    searcher.compare(compared.objectives)
    return searcher


@dataclasses.dataclass
class JudgedLoop(Loop):
    """Judges children by goals; one beyond the limit is told without a reward."""

    goals: Goals = dataclasses.field(default_factory=lambda: goals(LIMITED))

    def _observe(self, proposal: Proposal, fails: bool) -> None:
        metrics = {"size": float(sum(proposal.genotype.values()))}
        outcome = Outcome(proposal, "completed", reward_of(proposal), metrics)
        # A study tells the worst reward for a failure, or none.
        if fails:
            reward = 0.0 if proposal.index % 2 else None
            outcome = Outcome(proposal, "failed", reward, error="it broke")
        else:
            outcome = self.goals.judged(outcome)
        self.searcher.observe(outcome)
        self.events.append({"outcome": outcome.to_json()})


@every_searcher
@pytest.mark.parametrize("space", ["figure1", "mlp", "small_cnn"])
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(schedule=st.lists(steps, min_size=30, max_size=40), cut=st.integers(1, 40))
def test_resumed_equals_uninterrupted(
    name: str, space: str, schedule: list[Step], cut: int
) -> None:
    compared = goals(LIMITED)
    whole = JudgedLoop(made(name, space, compared)).play(schedule)
    resumed = JudgedLoop(made(name, space, compared))
    resumed.replay(whole.events[:cut]).play(schedule[cut:])
    assert resumed.events == whole.events


@every_searcher
def test_suggestions_that_are_withdrawn_leave_no_trace(name: str) -> None:
    """As those of a searcher inside another one, which is asked before outcomes arrive."""
    compared = goals(LIMITED)
    asked = JudgedLoop(made(name, "mlp", compared))
    unasked = JudgedLoop(made(name, "mlp", compared))
    for index in range(40):
        for loop in (asked, unasked):
            loop.play([(True, 0, False)])
        if index % 3:
            asked.searcher.suggest(index + 1)
            for loop in (asked, unasked):
                loop.play([(False, index, index % 7 == 0)])
    assert asked.proposals == unasked.proposals


def front_after(name: str, num_children: int, compared: Goals, seed: int) -> float:
    """The hypervolume of a made-up problem in which small answers are small and large ones good."""
    searcher, outcomes = made(name, "nasbench_macro", compared, seed), []
    for _ in range(num_children):
        proposal = searcher.propose()
        assert proposal is not None
        answers = list(proposal.genotype.values())
        size = float(sum(answers))
        quality = float(sum(a * place for place, a in enumerate(answers)))
        outcome = compared.judged(Outcome(proposal, "completed", quality, {"size": size}))
        searcher.observe(outcome)
        outcomes.append(outcome)
    volume = dominated(compared, outcomes, {"reward": 0.0, "size": 17.0})
    assert volume is not None
    return volume


@every_searcher
@pytest.mark.slow
def test_it_dominates_more_than_random_search(name: str) -> None:
    compared, seeds = goals({"reward": "max", "size": "min"}), range(3)
    found = [front_after(name, 120, compared, seed) for seed in seeds]
    drawn = [front_after("random", 120, compared, seed) for seed in seeds]
    assert sum(found) > 1.05 * sum(drawn)


@every_searcher
def test_children_within_a_limit_are_what_it_goes_on_from(name: str) -> None:
    compared = goals({"reward": "max", "size": {"goal": "min", "limit": 5}})
    searcher, within = made(name, "nasbench_macro", compared), []
    for _ in range(100):
        proposal = searcher.propose()
        assert proposal is not None
        size = float(sum(proposal.genotype.values()))
        within.append(size <= 5)
        judged = compared.judged(Outcome(proposal, "completed", size, {"size": size}))
        searcher.observe(judged)
    assert sum(within[-30:]) > 10  # of random ones 14 % are within, 4 of 30


@pytest.mark.parametrize("inner", OF_OBJECTIVES)
@pytest.mark.parametrize("name", [each for each in WRAPPERS if each != "enas"])  # has no inner one
def test_a_wrapper_refuses_one_before_anything_is_trained(name: str, inner: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(f"searcher/{name}", [f"searcher@searcher.searcher={inner}"]).searcher
    OmegaConf.set_struct(config, False)
    own = {key: value for key, value in HURRY.get(name, {}).items() if key != "searcher"}
    given = OmegaConf.to_container(OmegaConf.merge(config, own), resolve=True)
    told = rf"^searcher: \w+ ranks children by their rewards, and {inner} compares them by obj"
    with pytest.raises(ConfigError, match=told):
        construct(given, "searcher", space=load_space("figure1"), seed=0)
