"""Pages of studies whose children are paused, stopped, estimated, or found by a supernet."""

import functools
from pathlib import Path
from typing import Any

import pytest

from nasrunner.compose.saved import save_config
from nasrunner.core import Outcome, Source
from nasrunner.core.ledger.steps import PROMOTES, Reach
from nasrunner.recorded import RecordedStudy, find_studies, read_ledger, read_study
from nasrunner.report.comparison.groups import groups
from nasrunner.report.comparison.progress import progress
from nasrunner.report.contents import contents
from nasrunner.report.decisions.answers import answers
from nasrunner.report.page.files import write_page
from nasrunner.report.page.parts import Facts, Plot, Section, Table
from nasrunner.report.study.evaluations import evaluations
from nasrunner.report.study.failures import failures_section
from nasrunner.report.study.timeline import timeline, timeline_section
from nasrunner.rescoring.measured import whole_curve
from nasrunner.searchers.sampling.random import RandomSearch
from tests.contracts import test_kinds, test_lineages
from tests.contracts.searchers import (
    EverySecond,
    FidelitySearch,
    Filter,
    Halving,
    Inheriting,
    MedianStopping,
    OneShot,
)
from tests.contracts.trainers import EPOCHS, METRIC
from tests.report.recordings import Recording, config, recorded

LENGTHS = {test_lineages: 6, test_kinds: 12}


def searched(
    folder: Path, searcher: Any, module: Any = test_kinds, **changes: Any
) -> RecordedStudy:
    """A study of a toy searcher and toy children, as it is read afterwards."""
    module.run(folder, searcher, **changes).run()
    units = {"affine": {"units": {"oneof": [1, 2, 3, 4]}}}
    name = {"_target_": "nasrunner.searchers.sampling.random.RandomSearch"}
    space = {"concat": [units] * LENGTHS[module]}
    known = config(seed=3, space=space, searcher=name, max_children=8)
    save_config(known, folder)
    return read_ledger(folder, known)


@pytest.fixture(scope="module")
def halving(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    return searched(tmp_path_factory.mktemp("halving"), Halving, test_lineages, slots=3)


@pytest.fixture(scope="module")
def never(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    longer = functools.partial(Halving, rungs=(1, 3, 5))
    folder = tmp_path_factory.mktemp("never")
    return searched(folder, longer, test_lineages, max_children=4)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    return searched(tmp_path_factory.mktemp("filter"), Filter)


def page(study: RecordedStudy) -> dict[str, Section]:
    found = contents(groups([study], "settings"), {}, None)
    return {section.title: section for section in found.sections}


def facts(section: Section) -> dict[str, str]:
    (found,) = [part for part in section.parts if isinstance(part, Facts)]
    return dict(found.items)


def table(section: Section) -> list[dict[str, Any]]:
    (found,) = [part for part in section.parts if isinstance(part, Table)]
    return [dict(zip(found.columns, row, strict=True)) for row in found.values]


def text_of(section: Section) -> str:
    told = [part.caption for part in section.parts if isinstance(part, Plot | Table)]
    return " ".join([section.text, *told])


def full(study: RecordedStudy) -> dict[int, float]:
    """The rewards of what was trained to its end, by index."""
    return {
        outcome.proposal.index: outcome.known_reward
        for outcome in study.state.history.outcomes
        if outcome.status == "completed"
    }


def test_an_evaluation_is_a_root_with_the_reward_of_its_full_training(
    halving: RecordedStudy,
) -> None:
    spent = evaluations(halving)
    roots = [o.proposal.index for o in halving.state.history.outcomes if o.proposal.is_root]
    assert [e.begun.proposal.index for e in spent] == roots
    assert [e.number for e in spent] == list(range(1, 9))
    assert {e.index: e.reward for e in spent if e.has_reward} == full(halving)
    for each in spent:
        assert halving.course(each.index)[0] is each.begun


def test_the_overview_says_whose_rewards_these_are(halving: RecordedStudy) -> None:
    overview = page(halving)["Overview"]
    shown = facts(overview)
    best = max(full(halving), key=lambda index: full(halving)[index])
    assert shown["evaluations"] == "8"
    assert f"best, child {best:04d}" in shown
    assert shown["paused, not gone on with"] == str(8 - len(full(halving)))
    assert shown["continued trainings"] == str(halving.state.history.counts["continued"])
    cost_s = sum(outcome.cost_s for outcome in halving.state.history.outcomes)
    assert shown["training time"] == f"{cost_s:.0f} s"
    num_cut = 8 - len(full(halving))
    told = f"Rewards are of children that were trained to their ends. Left out: {num_cut} paused."
    assert told in overview.text


def test_the_leaderboard_has_full_trainings_and_what_they_went_on_with(
    halving: RecordedStudy,
) -> None:
    rows = table(page(halving)["Leaderboard"])
    assert {int(row["child"]): row["reward"] for row in rows} == full(halving)
    for row in rows:
        before = halving.course(int(row["child"]))[:-1]
        assert row["goes on with"] == " ".join(f"{c.proposal.index:04d}" for c in before)
        assert row["training (s)"] == EPOCHS


def test_a_lineage_has_one_curve(halving: RecordedStudy) -> None:
    for child in halving.best(5):
        curve = whole_curve(halving, child)
        assert [line["epoch"] for line in curve] == list(range(EPOCHS))
        assert child.outcome is not None
        assert [line[METRIC] for line in curve] == child.outcome.curve[METRIC]


def test_a_curve_is_put_together_where_each_file_has_its_own_epochs(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    first = study.propose(1, until=2)
    study.record(Outcome(first, "paused", 0.1))
    study.record(Outcome(study.propose(1, sources=(Source(0, "training"),)), "completed", 0.2))
    found = read_study(study.end())
    for child, epochs in zip(found.children, ((0, 1), (2, 3)), strict=True):
        child.folder.mkdir(parents=True)
        lines = [f'{{"epoch": {epoch}, "train_loss": {10 - epoch}}}\n' for epoch in epochs]
        (child.folder / "curves.jsonl").write_text("".join(lines), encoding="utf-8")
    (best,) = found.best(1)
    assert [line["epoch"] for line in whole_curve(found, best)] == [0, 1, 2, 3]


def test_the_budget_axis_counts_roots_and_the_best_grows_with_full_trainings(
    tmp_path: Path,
) -> None:
    study = Recording(tmp_path / "s")
    roots = []
    for units, reward in ((1, 0.8), (2, 0.9), (3, 0.5)):  # higher than when they end
        roots.append(study.propose(units, until=1))
        study.clock.now_s += 1.0
        study.record(Outcome(roots[-1], "paused", reward, cost_s=1.0))
    for root, reward in ((roots[0], 0.3), (roots[2], 0.4)):
        source = (Source(root.index, "training"),)
        units = root.genotype["0/affine/units"]
        study.clock.now_s += 1.0
        study.record(Outcome(study.propose(units, sources=source), "completed", reward, cost_s=2.0))
    plain = study.propose(4)
    study.record(Outcome(plain, "completed", 0.35, cost_s=3.0))
    found = progress(read_study(study.end()))
    assert found.num_evaluations == 4
    assert found.rewards_E[[0, 2, 3]].tolist() == [0.3, 0.4, 0.35]
    assert found.best_E[2:].tolist() == [0.4, 0.4]
    assert found.best_T[3:].tolist() == [0.3, 0.4, 0.4]
    assert found.trained_s_T.tolist() == [1, 2, 3, 5, 7, 10]
    assert found.best_after(4) == 0.4


def test_the_longest_rung_is_compared_and_said_so_where_none_reached_its_end(
    never: RecordedStudy,
) -> None:
    sections = page(never)
    assert never.reach == Reach(5)
    rung = {
        o.proposal.index: o.known_reward
        for o in never.state.history.outcomes
        if o.proposal.until == 5
    }
    assert {int(row["child"]): row["reward"] for row in table(sections["Leaderboard"])} == rung
    told = "No child was trained to its end: the best are of those paused after 5 epochs."
    for title in ("Overview", "Leaderboard", "Rewards"):
        assert told in text_of(sections[title]), title
    (best,) = [name for name in facts(sections["Overview"]) if name.startswith("best")]
    assert best.startswith("best after 5 epochs, child ")


def test_children_at_fidelities_are_compared_and_said_to_be_that(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    for units, width, promotes in ((1, 0.25, None), (2, 0.25, None), (2, 0.5, 1), (1, 0.5, 0)):
        notes = {} if promotes is None else {PROMOTES: promotes}
        proposal = study.propose(units, fidelity={"width": width}, notes=notes)
        study.clock.now_s += 1.0
        study.record(Outcome(proposal, "completed", units / 10 + width, cost_s=4 * width))
    sections = page(read_study(study.end()))
    shown = facts(sections["Overview"])
    assert (shown["at width=0.25"], shown["at width=0.5"]) == ("2, 1.0 s each", "2, 2.0 s each")
    assert shown["trained to the end"] == "0"
    assert shown["ρ of rewards, width 0.25 and 0.5"] == "1.00 (2 children)"
    assert shown["best at width=0.5, child 0002"] == "0.7"
    told = "No child was trained at full fidelity: the best are of those trained at width=0.5."
    assert told in text_of(sections["Leaderboard"])
    assert [row["child"] for row in table(sections["Leaderboard"])] == ["0002", "0003"]


def test_weights_that_children_began_with_or_lacked_are_told(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.child(0.5)
    weights, training = (Source(0, "weights"),), (Source(1, "training"),)
    for share, lacks in ((0.5, ()), (0.7, ()), (0.0, (0,))):
        proposal = study.propose(2, sources=weights, until=1)
        known = {"inherited_share": share}
        study.record(Outcome(proposal, "paused", 0.5, known, cost_s=1.0, lacks=lacks))
    again = study.propose(2, sources=training)
    study.record(Outcome(again, "completed", 0.6, {"inherited_share": 0.5}, lacks=(1,)))
    text = page(read_study(study.end()))["Overview"].text
    assert "2 children began with weights of others, which were 60% of their parameters" in text
    assert "nasrunner-calibrate what=inherited" in text
    assert "1 training went on from a state that was gone, which was trained again" in text
    assert "1 child began without weights that were gone or could not be read." in text


def test_estimates_are_counted_and_are_no_children(filtered: RecordedStudy) -> None:
    sections = page(filtered)
    shown = facts(sections["Overview"])
    assert (shown["evaluations"], shown["estimates"]) == ("3", "100 (1.0 s)")
    assert shown["training time"] == "18 s"
    assert {int(row["child"]) for row in table(sections["Leaderboard"])} == {100, 101, 102}
    asked = [position for each in answers(filtered) for position, _ in each.asked]
    assert set(asked) == {0, 1, 2}
    assert progress(filtered).num_evaluations == 3
    assert progress(filtered).trained_s == pytest.approx(19.0)
    assert "Those of estimates and supernets count, too." in text_of(sections["Progress"])


def test_it_is_told_how_alike_estimates_and_rewards_rank_children(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    for units, (score, reward) in enumerate([(5.0, 0.1), (4.0, 0.3), (3.0, 0.2), (2.0, 0.4)], 1):
        study.record(Outcome(study.propose(units, kind="estimate"), "completed", score))
        study.record(Outcome(study.propose(units), "completed", reward))
    study.record(Outcome(study.propose(5, kind="estimate"), "completed", 9.0))  # of no child
    assert "estimates and rewards" not in facts(page(read_study(study.folder))["Overview"])
    study.record(Outcome(study.propose(5), "completed", 0.5))
    shown = facts(page(read_study(study.folder))["Overview"])
    # 10 pairs: (4, 3) and those of the last child with the others agree, 5 in all
    assert shown["estimates and rewards"] == "Kendall's τ of 5 trained children: 0"
    study.record(Outcome(study.propose(6, kind="estimate"), "completed", 9.0))  # the same network
    study.record(Outcome(study.propose(6), "completed", 0.5, reused_from=9))
    shown = facts(page(read_study(study.folder))["Overview"])
    assert shown["estimates and rewards"] == "Kendall's τ of 5 trained children: 0"


def test_a_study_that_has_only_estimated_yet_has_a_page(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.record(Outcome(study.propose(1, kind="estimate"), "completed", 0.5, cost_s=0.1))
    broken = Outcome(study.propose(2, kind="estimate"), "failed", error="ValueError: no gradient")
    study.record(broken)
    study.propose(3, kind="estimate")
    sections = page(read_study(study.folder))
    assert facts(sections["Overview"])["estimates"] == "2 (1 failed, 0.1 s)"
    assert "0 children in flight" in sections["Overview"].text
    assert "Leaderboard" not in sections
    (row,) = table(sections["Failed and invalid children"])
    assert (row["number"], row["what"]) == (1, "estimate, failed")


def test_a_supernet_is_counted_and_is_no_child(tmp_path: Path) -> None:
    study = searched(tmp_path / "one", OneShot)
    shown = facts(page(study)["Overview"])
    assert (shown["evaluations"], shown["supernets"]) == ("3", "1 (5.0 s)")
    assert [e.index for e in evaluations(study)] == [1, 2, 3]
    assert failures_section(study) is None


@pytest.mark.parametrize(
    ("searcher", "told"),
    [
        (functools.partial(FidelitySearch, fidelity={"trainer.max_epochs": 2}), "6 trained at a l"),
        (MedianStopping, " stopped."),
    ],
)
def test_what_was_stopped_or_trained_cheaply_is_left_out_in_words(
    tmp_path: Path, searcher: Any, told: str
) -> None:
    study = searched(tmp_path / "s", searcher, max_children=10)
    assert told in page(study)["Overview"].text
    shown = {int(row["child"]) for row in table(page(study)["Leaderboard"])}
    assert shown == {index for index in full(study) if not study.state.proposals[index].fidelity}


def test_what_was_too_large_is_not_said_to_be_paused(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s")
    study.record(Outcome(study.propose(1), "completed", 0.5))
    beyond = {"flops": 9.0, "epochs": 0.0}
    study.record(Outcome(study.propose(2, until=1), "paused", metrics=beyond, error="too large"))
    sections = page(read_study(study.end()))
    assert "Left out: 1 too large, not trained." in sections["Overview"].text
    for section in ("Overview", "Leaderboard", "Rewards"):
        assert "paused" not in text_of(sections[section])


@pytest.mark.slow
def test_a_page_of_every_toy_is_written(tmp_path: Path) -> None:
    toys = {
        "inheriting": searched(tmp_path / "inheriting", Inheriting),
        "wrapper": searched(
            tmp_path / "wrapper",
            functools.partial(EverySecond, searcher=RandomSearch),
            test_lineages,
        ),
    }
    for name, study in toys.items():
        made = contents(groups([study], "settings"), {}, None)
        folder = tmp_path / name / "report"
        write_page(made.title, made.subtitle, made.sections, folder, refresh_s=None)
        html = (folder / "report.html").read_text(encoding="utf-8")
        assert "Leaderboard" in html
        assert ("Left out: 4 paused." in html) == (name == "wrapper")


def test_the_timeline_has_a_bar_for_each_training(tmp_path: Path) -> None:
    study = Recording(tmp_path / "s", start_s=1000.0)
    net = study.propose(0, kind="supernet")
    study.record(Outcome(net, "completed", cost_s=2.0), at_s=1002.0)
    first = study.propose(1, until=1)
    study.record(Outcome(first, "paused", 0.1, cost_s=2.0), at_s=1004.0)
    last = study.propose(1, sources=(Source(first.index, "training"),))
    for units in range(40):
        study.record(
            Outcome(study.propose(units, kind="estimate"), "completed", 0.1, cost_s=0.1), 1004.0
        )
    study.record(Outcome(last, "completed", 0.2, cost_s=3.0), at_s=1007.0)
    found = read_study(study.end())
    times = timeline(found)
    assert times is not None
    assert times.starts_s == [0.0, 2.0, 4.0]
    assert times.lanes == [0, 0, 0]
    caption = text_of(timeline_section(found, times))
    assert "Each of the 3 bars is a training." in caption
    assert "Estimates are left out" in caption


def test_searches_with_and_without_lineages_are_compared(tmp_path: Path) -> None:
    for seed in range(2):
        made = Recording(tmp_path / f"a{seed}", seed=seed)
        for units in range(4):
            made.record(Outcome(made.propose(units, until=1), "paused", 0.9))
        made.record(Outcome(made.propose(2, sources=(Source(2, "training"),)), "completed", 0.5))
        made.end()
        never = Recording(tmp_path / f"c{seed}", seed=seed, optimizer__lr=0.5)
        for units in range(4):
            never.record(Outcome(never.propose(units, until=3), "paused", 0.9))
        never.end()
        recorded(tmp_path / f"b{seed}", [0.4, 0.6, 0.2, 0.1], seed=seed, optimizer__lr=0.1)
    made_page = contents(groups(find_studies([tmp_path]), "settings"), {}, None)
    sections = {section.title: section for section in made_page.sections}
    rows = [
        dict(zip(part.columns, row, strict=True))
        for part in sections["Searchers and studies"].parts
        if isinstance(part, Table) and part.name == "searchers"
        for row in part.values
    ]
    known = [row for row in rows if row["best reward"] is not None]
    assert sorted((row["evaluations"], row["best reward"]) for row in known) == [
        (8, 0.5),
        (8, 0.6),
    ]
    assert [row["evaluations"] for row in rows if row["best reward"] is None] == [8]
    told = "its rewards are those after 3 epochs, which are not compared."
    assert told in sections["Comparison"].text
    assert "The best reward of all, 0.6, is of" in sections["Comparison"].text
    assert "0.6" in facts(sections["Best study: overview"]).values()


def test_searches_of_one_rung_are_compared_after_it(tmp_path: Path) -> None:
    for name, reward in (("a", 0.5), ("b", 0.7)):
        made = Recording(tmp_path / name, optimizer__lr=reward)
        made.record(Outcome(made.propose(1, until=3), "paused", reward))
        made.end()
    made_page = contents(groups(find_studies([tmp_path]), "settings"), {}, None)
    sections = {section.title: section for section in made_page.sections}
    assert "The best reward of all, 0.7, is of" in sections["Comparison"].text
    assert "after 3 epochs, which are compared." in sections["Comparison"].text


def test_outcomes_that_were_recorded_at_one_moment_keep_their_order(tmp_path: Path) -> None:
    made = Recording(tmp_path / "s")
    first, second = made.propose(1), made.propose(2)
    made.record(Outcome(second, "completed", 0.2), at_s=2_000_000.0)
    made.record(Outcome(first, "completed", 0.1), at_s=2_000_000.0)
    assert [e.index for e in evaluations(read_study(made.end()))] == [1, 0]
