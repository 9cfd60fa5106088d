"""Progressive search: what is trained at each level, when the next one begins, and what is told."""

import functools
import importlib
import itertools
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import spearmanr

from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import Genotype, KnownOutcome, Outcome, Proposal, SearchSpace, SpaceError
from nasrunner.core.order import key_of
from nasrunner.searchers.progressive.pnas import ProgressiveSearch
from nasrunner.searchers.surrogates.surrogate import Surrogate
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import CONF, make_searcher, run
from tests.study import test_snapshots as snapshots
from tests.study.test_loop import Run, events, with_rules
from tests.toys import ToyExecutor

TOKENS = ("relu", "tanh", "elu", "gelu")
WORTH = {"relu": 1.0, "tanh": 2.0, "elu": 4.0, "gelu": 8.0}


def growing(depths: Sequence[int] = (1, 2, 3, 4)) -> SearchSpace:
    times = {"oneof": list(depths)}
    return parse_space({"repeat": {"times": times, "body": {"or": list(TOKENS)}}})


def tokens(genotype: Genotype) -> tuple[str, ...]:
    answers = [index for path, index in genotype.items() if not path.endswith("times")]
    return tuple(TOKENS[index] for index in answers)


def worth(genotype: Genotype) -> float:
    """The first tokens count most, so that no two are alike."""
    return sum(WORTH[token] / 16**place for place, token in enumerate(tokens(genotype)))


class Knowing:
    """A surrogate that knows the order of rewards; not derived from ours, as a user's may be."""

    def __init__(self, *, space: SearchSpace) -> None:
        self.num_fitted: list[int] = []
        self.num_ranked: list[int] = []

    def fit(self, genotypes: Sequence[Genotype], targets: np.ndarray, rng: Any) -> None:
        self.num_fitted.append(len(genotypes))

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        self.num_ranked.append(len(genotypes))
        return np.array([worth(each) for each in genotypes]), np.zeros(len(genotypes))


class Multisets:
    """Networks that are the same if they have the same tokens; two ``gelu`` are impossible."""

    identifies = True

    def identity(self, genotype: Genotype) -> str:
        found = sorted(tokens(genotype))
        if found.count("gelu") > 1:
            raise SpaceError("two are too many")
        return f"network:{found}"


def pnas(**changes: Any) -> Callable[..., ProgressiveSearch]:
    arguments: dict[str, Any] = {
        "depth": None,
        "first_level": 10,
        "num_trained": 3,
        "num_kept": None,
        "max_expansions": 1000,
        "ended_share": 1.0,
        "surrogate": Knowing,
        **changes,
    }
    return functools.partial(ProgressiveSearch, **arguments)


def hurried(*, space: SearchSpace, seed: int) -> Any:
    """As shipped, but small."""
    return make_searcher("pnas", space, seed)


def shipped(surrogate: str) -> Callable[..., Surrogate]:
    """A surrogate with the settings of its YAML, but smaller."""
    given = yaml.safe_load((CONF / "surrogate" / f"{surrogate}.yaml").read_text())
    module, _, name = given.pop("_target_").rpartition(".")
    given.pop("_partial_")
    given |= {"hidden_units": 32, "num_steps": 100}
    return functools.partial(getattr(importlib.import_module(module), name), **given)


def made(**changes: Any) -> ProgressiveSearch:
    return pnas(**changes)(space=growing(), seed=0)


def ended(searcher: ProgressiveSearch, proposal: Proposal | None, fails: bool = False) -> None:
    assert proposal is not None
    if fails:
        searcher.observe(Outcome(proposal, "failed", error="it broke"))
    else:
        searcher.observe(Outcome(proposal, "completed", worth(proposal.genotype)))


def trained(searcher: ProgressiveSearch, num_children: int) -> list[Proposal]:
    return run(searcher, num_children, lambda proposal: worth(proposal.genotype))


def test_the_first_level_is_all_and_the_best_expansions_follow_from_level_to_level() -> None:
    searcher = made()
    proposals = trained(searcher, 10)
    assert {tokens(each.genotype) for each in proposals[:4]} == {(token,) for token in TOKENS}
    assert [tokens(each.genotype) for each in proposals[4:7]] == [
        ("gelu", "gelu"),
        ("gelu", "elu"),
        ("gelu", "tanh"),
    ]
    assert [tokens(each.genotype) for each in proposals[7:]] == [
        ("gelu", "gelu", "gelu"),
        ("gelu", "gelu", "elu"),
        ("gelu", "gelu", "tanh"),
    ]
    assert [each.notes["level"] for each in proposals] == [1] * 4 + [2] * 3 + [3] * 3
    by_tokens = {tokens(each.genotype): each.index for each in proposals}
    for each in proposals[4:]:
        assert each.parent == by_tokens[tokens(each.genotype)[:-1]]
    assert all(each.parent is None and each.predicted is None for each in proposals[:4])


def test_predictions_are_in_units_of_the_rewards_known_when_the_level_began() -> None:
    searcher = made()
    proposals = trained(searcher, 8)
    rewards = np.array([worth(each.genotype) for each in proposals[:4]])
    for each in proposals[4:7]:
        expected = rewards.mean() + rewards.std() * worth(each.genotype)
        assert each.predicted == pytest.approx(expected)
    assert searcher.surrogate.inner.num_fitted == [4, 7]


def test_a_larger_first_level_is_drawn_and_the_draw_follows_from_the_seed() -> None:
    space = growing((2, 3))
    firsts = []
    for seed in (0, 0, 1):
        searcher = pnas(first_level=5)(space=space, seed=seed)
        proposals = trained(searcher, 6)
        assert len({key_of(each.genotype) for each in proposals[:5]}) == 5
        assert [len(tokens(each.genotype)) for each in proposals] == [2] * 5 + [3]
        firsts.append([tokens(each.genotype) for each in proposals[:5]])
    assert firsts[0] == firsts[1] != firsts[2]


def test_of_more_expansions_than_are_ranked_so_many_are_drawn() -> None:
    draws = []
    for seed in (0, 0, 1):
        searcher = pnas(max_expansions=3, num_trained=2, first_level=3)(space=growing(), seed=seed)
        proposals = trained(searcher, 7)
        first = {tokens(each.genotype)[0] for each in proposals[:3]}
        assert len(first) == 3
        assert {tokens(each.genotype)[0] for each in proposals[3:]} <= first
        assert [len(tokens(each.genotype)) for each in proposals] == [1] * 3 + [2] * 2 + [3] * 2
        draws.append([tokens(each.genotype) for each in proposals])
    assert draws[0] == draws[1] != draws[2]


def test_no_more_are_ranked_than_are_to_be() -> None:
    searcher = made(max_expansions=10)
    trained(searcher, 10)
    assert searcher.surrogate.inner.num_ranked == [10, 10]  # of 16 and 12
    searcher = made()
    trained(searcher, 10)
    assert searcher.surrogate.inner.num_ranked == [16, 12]


def test_only_the_best_of_a_level_are_expanded_if_so_many_are_kept() -> None:
    searcher = made(num_kept=1, num_trained=6)
    proposals = trained(searcher, 9)
    assert {tokens(each.genotype)[0] for each in proposals[4:8]} == {"gelu"}
    # One child has four expansions, fewer than the level's places: the next one begins.
    assert [len(tokens(each.genotype)) for each in proposals] == [1] * 4 + [2] * 4 + [3]


def test_symmetric_and_impossible_networks_are_passed_over() -> None:
    searcher = made(num_trained=100)
    searcher.see(Multisets())  # type: ignore[arg-type]
    proposals = trained(searcher, 13)
    pairs = [tokens(each.genotype) for each in proposals[4:]]
    assert len({tuple(sorted(pair)) for pair in pairs}) == 9  # of 10 multisets one is impossible
    assert ("gelu", "gelu") not in pairs
    (following,) = trained(searcher, 1)
    assert len(tokens(following.genotype)) == 3


def test_of_256_symmetric_first_blocks_136_are_trained() -> None:
    """As of the paper's, section 3.1: two sides with 2 inputs and 8 operations each are added."""
    operations = {"dropout": {"p": {"linspace": [0.1, 0.8, 8]}}}
    side = {"concat": [{"or": ["relu", "tanh"]}, operations]}
    block = {"fork": {"merge": "add", "branches": [side, side]}}
    space = parse_space({"repeat": {"times": {"oneof": [1, 2]}, "body": block}})
    searcher = pnas(first_level=256, surrogate=Unasked)(space=space, seed=0)
    searcher.see(SpaceNetworks(space, (5,), "float32", identifies=True))
    num_first = 0
    while (proposal := searcher.propose()) is not None and proposal.notes["level"] == 1:
        searcher.observe(Outcome(proposal, "completed", 0.5))
        num_first += 1
    assert num_first == 136


class Unasked(Knowing):
    """Predicts the same for all."""

    def predict(self, genotypes: Sequence[Genotype]) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(genotypes)), np.zeros(len(genotypes))


def test_a_child_without_a_reward_leaves_its_place_to_the_next() -> None:
    searcher = made()
    trained(searcher, 4)
    first = searcher.propose()
    ended(searcher, first, fails=True)
    others = trained(searcher, 3)
    assert first is not None
    assert tokens(first.genotype) == ("gelu", "gelu")
    found = [tokens(each.genotype) for each in others]
    assert found == [("gelu", "elu"), ("gelu", "tanh"), ("gelu", "relu")]
    (following,) = trained(searcher, 1)
    assert tokens(following.genotype) == ("gelu", "elu", "gelu")  # what failed is not expanded


@pytest.mark.parametrize(("share", "num_enough"), [(1.0, 4), (0.75, 3), (0.5, 2), (0.1, 1)])
def test_the_next_level_begins_when_enough_of_one_has_rewards(
    share: float, num_enough: int
) -> None:
    searcher = made(ended_share=share)
    proposals = [searcher.propose() for _ in range(4)]
    for place, proposal in enumerate(proposals[:num_enough]):
        assert not searcher.is_ready, place
        ended(searcher, proposal)
    assert searcher.is_ready
    following = searcher.propose()
    assert following is not None
    assert following.notes["level"] == 2
    known = {proposal.index for proposal in proposals[:num_enough] if proposal is not None}
    assert following.parent in known
    # What ends later is learnt, but not expanded: the level goes on as it began.
    for proposal in proposals[num_enough:]:
        ended(searcher, proposal)
    rest = [searcher.propose(), searcher.propose()]
    assert {each.parent for each in rest if each is not None} <= known
    assert len(searcher.rewards) == 4


def test_a_level_is_ranked_by_what_was_known_when_it_began_also_by_who_goes_on_with_it() -> None:
    searcher = made(ended_share=0.5, first_level=4, num_trained=4)
    trained(searcher, 4)
    proposals = [searcher.propose() for _ in range(4)]
    for proposal in proposals[:2]:
        ended(searcher, proposal)
    searcher.propose()  # begins the third level
    for proposal in proposals[2:]:
        ended(searcher, proposal)
    resumed = pickle.loads(pickle.dumps(searcher))
    assert resumed.suggest(9) == searcher.suggest(9)


def test_a_reward_that_was_measured_before_is_learnt_once() -> None:
    searcher = made()
    trained(searcher, 4)
    proposal = searcher.propose()
    assert proposal is not None
    searcher.observe(Outcome(proposal, "completed", 3.0, reused_from=0))
    assert len(searcher.rewards) == 4
    assert 4 not in searcher.parents()


def test_who_asks_without_waiting_gets_one_more_of_the_level() -> None:
    searcher = made(first_level=2)
    proposals = [searcher.propose() for _ in range(2)]
    assert not searcher.is_ready
    more = searcher.propose()
    assert more is not None
    assert more.notes["level"] == 1
    assert not searcher.is_ready
    for proposal in (*proposals, more):
        ended(searcher, proposal)
    assert trained(searcher, 1)[0].notes["level"] == 2


def test_after_the_last_level_its_expansions_go_on_in_rounds_until_none_is_left() -> None:
    searcher = pnas(num_trained=5)(space=growing((1, 2)), seed=0)
    proposals = trained(searcher, 4 + 16)
    assert [each.notes["round"] for each in proposals[4:]] == [1] * 5 + [2] * 5 + [3] * 5 + [4]
    assert len({key_of(each.genotype) for each in proposals}) == 20
    assert searcher.propose() is None
    assert searcher.is_ready
    assert searcher.why_done == "all expansions of its children to repeat/times=2 were proposed"


def test_a_level_without_rewards_ends_the_search_with_the_reason() -> None:
    searcher = made()
    for _ in range(4):
        ended(searcher, searcher.propose(), fails=True)
    assert searcher.propose() is None
    assert searcher.why_done == (
        "no child of repeat/times=1 has a reward and an expansion that is new"
    )


def test_where_no_child_can_be_expanded_more_of_the_level_are_trained() -> None:
    class OnlyPairsOfRelu(Multisets):
        def identity(self, genotype: Genotype) -> str:
            if len(tokens(genotype)) > 1 and tokens(genotype)[0] != "relu":
                raise SpaceError("it must begin with relu")
            return f"network:{tokens(genotype)}"

    searcher = made(first_level=1)
    searcher.see(OnlyPairsOfRelu())  # type: ignore[arg-type]
    num_first, levels = 0, []
    while "relu" not in [tokens(each)[0] for each in searcher.genotypes]:
        levels.append(trained(searcher, 1)[0].notes["level"])
        num_first += 1
    assert num_first > 1, "another seed, which does not begin with relu"
    assert set(levels) == {1}
    assert trained(searcher, 1)[0].notes["level"] == 2


def test_nothing_is_proposed_to_be_done_while_a_child_may_still_be_expanded() -> None:
    searcher = made(first_level=4)
    proposals = [searcher.propose() for _ in range(4)]
    for proposal in proposals[:3]:
        ended(searcher, proposal, fails=True)
    assert not searcher.is_ready  # the fourth may be the first with a reward
    ended(searcher, proposals[3])
    assert trained(searcher, 1)[0].parent == 3


def test_what_users_give_is_expanded_too_and_not_proposed_again() -> None:
    searcher = made(first_level=2)
    given = Proposal(0, {"repeat/times": 0, "repeat/0/or": 3})
    searcher.register(given)
    ended(searcher, given)
    proposals = trained(searcher, 5)
    assert "gelu" not in [tokens(each.genotype)[0] for each in proposals[:2]]
    assert len({tokens(each.genotype) for each in proposals[:2]}) == 2
    assert len(tokens(proposals[2].genotype)) == 2  # three rewards: in random order
    assert 0 in searcher.parents()


def test_earlier_outcomes_rank_the_first_level() -> None:
    searcher = made(first_level=2)
    answers = [{"repeat/times": 0, "repeat/0/or": place} for place in range(4)]
    searcher.learn_known([KnownOutcome(each, worth(each), 0) for each in answers])
    proposals = trained(searcher, 3)
    found = [tokens(each.genotype) for each in proposals]
    assert found == [("gelu",), ("elu",), ("gelu", "gelu")]
    assert all(each.predicted is not None for each in proposals)
    assert searcher.surrogate.inner.num_fitted == [4, 6]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"or": ["relu", "tanh"]}, "space must have a depth to grow"),
        (
            {
                "repeat": {
                    "times": {"schedule": {"start": 1, "step": 1, "end": 3, "every": 4}},
                    "body": {"or": ["relu", "tanh"]},
                }
            },
            "space must have no schedule",
        ),
    ],
)
def test_a_space_that_does_not_grow_by_itself_is_refused(tree: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pnas()(space=parse_space(tree), seed=0)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"depth must be a decision .* repeat/times, got 'times'"):
        made(depth="times")
    message = "max_expansions must be at least first_level=10 and num_trained=3, got 9"
    with pytest.raises(ValueError, match=message):
        made(max_expansions=9)
    with pytest.raises(ValueError, match="surrogate must be a partial"):
        made(surrogate=None)


def test_a_budget_that_ends_before_the_last_level_is_told() -> None:
    searcher = made()  # 4, 3, 3 and 3 children
    assert searcher.advice(None) is None
    assert searcher.advice(11) is None
    assert "A budget of 10 children ends at repeat/times=3 of 1, 2, 3, 4" in str(
        searcher.advice(10)
    )
    assert "ends at repeat/times=1 of 1, 2, 3, 4" in str(searcher.advice(4))


def test_its_surrogates_do_not_read_the_depth_which_is_new_at_each_level() -> None:
    searcher = make_searcher("pnas", "small_cnn")
    assert isinstance(searcher, ProgressiveSearch)
    assert list(searcher.surrogate.implied) == ["3/repeat/times"]


@pytest.mark.parametrize("surrogate", ["pnas_lstm", "mlp"])
def test_the_shipped_surrogates_rank_one_level_ahead(surrogate: str) -> None:
    """The reward is the mean worth of all tokens, whatever their order."""
    make = pnas(first_level=16, num_trained=12, surrogate=shipped(surrogate))
    searcher = make(space=growing((2, 3, 4)), seed=0)

    def reward(proposal: Proposal) -> float:
        return float(np.mean([WORTH[token] for token in tokens(proposal.genotype)]))

    proposals = run(searcher, 28, reward)
    found = [reward(each) for each in proposals[16:]]
    of_depth = [np.mean(worths) for worths in itertools.product(WORTH.values(), repeat=3)]
    assert np.mean(found) > np.quantile(of_depth, 0.8)


@pytest.mark.parametrize("slots", [1, 3])
def test_a_killed_study_goes_on_as_if_it_had_not_been(tmp_path: Path, slots: int) -> None:
    sessions = {"whole": (None, True), "with": (12, True), "without": (12, False)}
    for folder, (dies_after, keeps) in sessions.items():
        path = tmp_path / folder
        more: dict[str, Any] = {"slots": slots, "space": growing(), "snapshots": keeps}
        if dies_after is not None:
            snapshots.run(path, hurried, 18, dies_after=dies_after, **more)
        snapshots.run(path, hurried, 18, **more)
    for kind in ("proposed", "outcome"):
        whole = events(tmp_path / "whole", kind)
        assert len(whole) == 18
        if slots == 1:  # with several, who ends first is drawn anew by a new executor
            assert events(tmp_path / "with", kind) == whole
        assert events(tmp_path / "with", kind) == events(tmp_path / "without", kind)


def test_a_study_tells_how_well_each_level_was_ranked_ahead(tmp_path: Path) -> None:
    rules = with_rules(max_children=15)
    summary = Run(tmp_path, growing(), rules, hurried, executor=ToyExecutor(2)).run()
    found = {each.level: each.num_children for each in summary.predicted_levels}
    assert set(found) == {2, 3, 4}
    assert "one level ahead: level 2" in summary.about_predictions
    second = next(each for each in summary.predicted_levels if each.level == 2)
    outcomes = {each["index"]: each["reward"] for each in events(tmp_path, "outcome")}
    both = [
        (each["predicted"], outcomes[each["index"]])
        for each in events(tmp_path, "proposed")
        if each["notes"]["level"] == 2
    ]
    assert second.rank_correlation == pytest.approx(spearmanr(*zip(*both, strict=True)).statistic)
    proposed = [each for each in events(tmp_path, "proposed") if "predicted" in each]
    assert sum(found.values()) == sum(each["notes"]["round"] == 1 for each in proposed)
