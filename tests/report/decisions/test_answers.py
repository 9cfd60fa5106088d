"""What was answered and how it did, counted by hand."""

import math

import pytest

from nasrunner.core import Outcome, Proposal
from nasrunner.core.decision import Genotype
from nasrunner.core.ledger.events import Began, Proposed, Recorded
from nasrunner.core.ledger.state import StudyState
from nasrunner.recorded import RecordedStudy
from nasrunner.report.decisions.answers import Answers, answers, floor_of, mean_and_error, parts_of
from nasrunner.report.decisions.learnt import MAX_SHOWN, learnt_section
from nasrunner.report.decisions.option_colours import MAX_OPTIONS, bands_of
from nasrunner.report.page.parts import Table
from tests.report.recordings import config

TWO = {
    "concat": [
        {"affine": {"units": {"oneof": [8, 16]}}},
        {"repeat": {"body": {"or": ["relu", "tanh", "elu"]}, "times": {"oneof": [1, 2]}}},
    ]
}


def study_of(tmp_path, space, children: list[tuple[Genotype, float | None]]) -> RecordedStudy:
    """A study whose children have these genotypes and rewards; None: it failed."""
    study = RecordedStudy(tmp_path, config(space=space), StudyState())
    study.state.apply(Began(1, 0, {}), 0.0)
    for index, (genotype, reward) in enumerate(children):
        proposal = Proposal(index, genotype)
        status = "failed" if reward is None else "completed"
        study.state.apply(Proposed(proposal), float(index))
        study.state.apply(Recorded(Outcome(proposal, status, reward)), index + 1.0)
    return study


def two(units: int, *bodies: int) -> Genotype:
    genotype = {"0/affine/units": units, "1/repeat/times": len(bodies) - 1}
    return genotype | {f"1/repeat/{place}/or": body for place, body in enumerate(bodies)}


def kinds(study: RecordedStudy) -> dict[str, Answers]:
    return {each.kind: each for each in answers(study)}


def test_repetitions_of_a_block_are_one_kind_and_a_child_counts_once_for_an_option(tmp_path):
    study = study_of(tmp_path, TWO, [(two(0, 1, 1), 0.5), (two(1, 0, 1), 0.7)])
    body = kinds(study)["1/repeat/*/or"]
    assert body.asked == [(0, 1), (0, 1), (1, 0), (1, 1)]
    assert body.rewards == [[0.7], [0.5, 0.7], []]


def test_shares_are_of_the_decisions_asked_in_each_part(tmp_path):
    children = [(two(0, 0), 0.5)] * 5 + [(two(1, 0), 0.5)] * 4 + [(two(0, 0), 0.5)]
    shares = kinds(study_of(tmp_path, TWO, children))["0/affine/units"].shares(len(children))
    assert shares.tolist() == [[1.0, 0.0], [0.2, 0.8]]


def test_a_part_in_which_a_decision_was_never_asked_has_no_shares():
    late = Answers("a", (1, 2), True, asked=[(7, 1)], rewards=[[], []])
    first, second = late.shares(10).tolist()
    assert all(map(math.isnan, first))
    assert second == [0.0, 1.0]


@pytest.mark.parametrize(("num", "parts"), [(1, 1), (9, 1), (10, 2), (49, 9), (50, 10), (9999, 10)])
def test_a_study_is_cut_into_at_most_ten_parts_of_five(num, parts):
    assert parts_of(num) == parts


def test_the_explained_share_is_corrected_for_the_number_of_options():
    # Groups [1, 3] and [5, 7]: within 2 + 2, total 20, so MSW = 4 / 2 and MST = 20 / 3.
    each = Answers("a", (1, 2), True, rewards=[[1.0, 3.0], [5.0, 7.0]])
    assert each.explained == pytest.approx(1 - 2 / (20 / 3))


def test_options_that_do_as_well_as_chance_explain_nothing():
    assert Answers("a", (1, 2), True, rewards=[[1.0, 3.0], [1.0, 3.0]]).explained == 0.0


@pytest.mark.parametrize(
    "rewards", [[[], []], [[1.0, 2.0], []], [[1.0], [2.0]], [[1.0, 1.0], [1.0]]]
)
def test_too_few_or_equal_rewards_explain_no_share(rewards):
    assert Answers("a", (1, 2), True, rewards=rewards).explained is None


def test_the_most_telling_decision_comes_first(tmp_path):
    children = [
        (two(units, body), 0.1 * body + 0.01 * units) for units in (0, 1) for body in (0, 1, 2)
    ]
    first, *_ = answers(study_of(tmp_path, TWO, children * 2))
    assert first.kind == "1/repeat/*/or"


def test_a_decision_with_one_option_is_none(tmp_path):
    space = {"concat": [{"affine": {"units": {"oneof": [8]}}}, {"or": ["relu", "tanh"]}]}
    study = study_of(tmp_path, space, [({"0/affine/units": 0, "1/or": 1}, 0.5)])
    assert list(kinds(study)) == ["1/or"]


def test_failed_and_repeated_children_are_proposed_but_have_no_reward(tmp_path):
    study = study_of(tmp_path, TWO, [(two(0, 0), 0.5), (two(0, 0), None)])
    repeated = Outcome(Proposal(2, two(0, 0)), "completed", 0.5, reused_from=0)
    study.state.apply(Proposed(repeated.proposal), 2.0)
    study.state.apply(Recorded(repeated), 3.0)
    study.state.apply(Proposed(Proposal(3, two(0, 0))), 3.0)
    units = kinds(study)["0/affine/units"]
    assert len(units.asked) == 4
    assert units.rewards == [[0.5], []]


def test_a_reward_far_out_counts_as_the_lowest_that_is_not(tmp_path):
    children = [(two(0, 0), -1.0)] * 10 + [(two(0, 0), 0.0)] * 29 + [(two(1, 0), -1e30)]
    study = study_of(tmp_path, TWO, children)
    assert floor_of(study) == -11.0  # the first quartile is -1, the best 0
    assert kinds(study)["0/affine/units"].rewards[1] == [-11.0]
    assert "One reward is far out" in learnt_section(study).parts[0].caption


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([], (None, None)), ([2.0], (2.0, None)), ([1.0, 3.0], (2.0, pytest.approx(1.0)))],
)
def test_a_mean_has_an_error_from_two_rewards_on(rewards, expected):
    assert mean_and_error(rewards) == expected


def test_many_ordered_options_are_merged_with_their_neighbours():
    bands = bands_of(Answers("a", tuple(range(25)), True))
    assert len(bands) == MAX_OPTIONS
    assert [option for band in bands for option in band.options] == list(range(25))
    assert bands[0].label == "0 – 2"


def test_many_unordered_options_keep_the_most_proposed():
    options = tuple("abcdefghijkl")
    asked = [(0, option) for option in range(12) for _ in range(option + 1)]
    bands = bands_of(Answers("a", options, False, asked=asked))
    assert [band.label for band in bands] == [*"fghijkl", "5 others"]
    assert bands[-1].options == [0, 1, 2, 3, 4]
    assert len({band.colour for band in bands}) == 8


def test_dozens_of_decisions_show_the_most_telling_and_list_all(tmp_path):
    num_kinds = 30
    space = {"concat": [{"affine": {"units": {"oneof": [8, 16]}}} for _ in range(num_kinds)]}
    children = [
        ({f"{kind}/affine/units": n >> kind & 1 for kind in range(num_kinds)}, float(n >> 3 & 1))
        for n in range(64)
    ]
    plot, table = learnt_section(study_of(tmp_path, space, children)).parts
    assert len(plot.figure.axes) == 2 * MAX_SHOWN
    assert plot.figure.axes[0].get_title(loc="left").startswith("affine units #4")
    assert "20 more decisions in the table only" in plot.caption
    assert len({row[0] for row in table.rows}) == num_kinds


def test_an_object_among_the_options_is_shown_as_its_call(tmp_path):
    rates = {"uniform": [0, 1], "steps": 3}
    optimizers = [
        {"_target_": "torch.optim.SGD", "lr": rates},
        {"_target_": "torch.optim.Adam", "lr": 1},
    ]
    space = {"hyperparameters": {"optimizer": {"oneof": optimizers}}, "relu": None}
    genotype = {"hyperparameters/optimizer": 0, "hyperparameters/optimizer/0/lr": 2}
    section = learnt_section(study_of(tmp_path, space, [(genotype, 0.5)]))
    (table,) = (part for part in section.parts if isinstance(part, Table))
    shown = [row[1] for row in table.rows]
    assert shown == ["SGD(lr={0.0, 0.5, 1.0})", "Adam(lr=1)", "0.0", "0.5", "1.0"]


CELL = {"cell": {"nodes": 3, "edge": {"or": ["relu", "tanh"]}}}


def test_each_edge_of_a_cell_has_its_own_answers(tmp_path):
    def cell(*edges):
        return dict(zip(("cell/0-1/or", "cell/0-2/or", "cell/1-2/or"), edges, strict=True))

    children = [(cell(a, b, c), 0.1 * a + 0.7 * c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    first, second, third = answers(study_of(tmp_path, CELL, children))
    assert [first.name, second.name] == ["edge 1→2 activation", "edge 0→1 activation"]
    assert first.rewards == [[0.0, 0.0, 0.1, 0.1], pytest.approx([0.7, 0.7, 0.8, 0.8])]
    # of variances 0.7² / 4 and 0.1² / 4: 1 − (0.01 / 6) / (0.5 / 7), with the degrees of freedom
    assert first.explained == pytest.approx(1 - (0.01 / 6) / (0.5 / 7))
    assert third.explained == 0.0


def test_a_decision_that_few_children_have_is_less_telling(tmp_path):
    space = {"concat": [{"or": ["relu", {"affine": {"units": {"oneof": [8, 16]}}}]}]}
    few = [({"0/or": 1, "0/or/1/affine/units": n % 2}, 0.5 + 0.1 * (n % 2)) for n in range(4)]
    many = [({"0/or": 0}, 0.7 + 0.001 * n) for n in range(16)]
    first, second = answers(study_of(tmp_path, space, few + many))
    assert (first.name, second.name) == ("operation", "affine units")
    assert second.explained == pytest.approx(1.0)
    assert second.explained > first.explained
    assert (second.num_rewarded, second.num_of) == (4, 20)
    assert second.weight == pytest.approx(4 / 20)
    plot, table = learnt_section(study_of(tmp_path, space, few + many)).parts
    titles = [axes.get_title(loc="left") for axes in plot.figure.axes]
    assert "affine units  ·  100% of 4 children" in titles
    assert plot.hovers["affine units  ·  100% of 4 children"] == "0/or/1/affine/units"
    assert table.values[-1][3] == 4
