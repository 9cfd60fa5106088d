"""The best children: what they are and how they did."""

from nasrunner.core.ledger.known import is_given
from nasrunner.core.space import living
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Drawing, Section, Table
from nasrunner.report.study.children import link_to
from nasrunner.report.study.evaluations import about_rewards, number
from nasrunner.spaces.pictures.drawing import draw

NUM_LISTED, NUM_DRAWN = 10, 3


def leaderboard_section(study: RecordedStudy) -> Section:
    """Returns the ten best children of a study that has one with a reward, and pictures of
    three.
    """
    rows: list[dict[str, object]] = []
    drawings = []
    for rank, child in enumerate(study.best(NUM_LISTED), start=1):
        assert child.outcome is not None
        shown = living(study.space.freeze(child.proposal.genotype))
        parameters, flops = map(child.outcome.metrics.get, ("parameters", "flops"))
        name = f"{child.proposal.index:04d}"
        rows.append(
            {
                "rank": rank,
                "child": link_to(study, child.proposal.index),
                "reward": child.outcome.reward,
                "trainings": child.num_trainings if child.num_trainings > 1 else None,
                "sd of their rewards": child.spread,
                "parameters": None if parameters is None else round(parameters),
                "FLOPs": None if flops is None else round(flops),
                "given": "yes" if is_given(child.proposal) else None,
                "goes on with": _course(study, child),
                "training (s)": _cost_s(study, child) or None,
                "architecture": shown.text(),
            }
        )
        if rank <= NUM_DRAWN:
            below = f"Reward {number(child.outcome.reward)}"
            below += "." if parameters is None else f", {parameters:,.0f} parameters."
            drawings.append(Drawing(f"{rank}: child {name}", below, draw(shown)))
    # A tabular trainer may not say what a child costs.
    known = tuple(name for name in rows[0] if any(row[name] is not None for row in rows))
    caption = (
        "Each architecture once, with the mean reward of its trainings. FLOPs are of one example's "
        "forward pass, two for each multiply-add."
    )
    if study.reach is not None and study.reach.fidelity:
        caption += " Parameters and FLOPs are of the whole networks."
    if told := about_rewards(study):
        caption += f" {told}"
    table = Table(
        "leaderboard",
        "Best children",
        caption,
        known,
        [[row[name] for name in known] for row in rows],
    )
    return Section("Leaderboard", "", [table, *drawings])


def _course(study: RecordedStudy, child: RecordedChild) -> str | None:
    """The children whose training a child went on with, first to last."""
    before = study.course(child.proposal.index)[:-1]
    return " ".join(f"{each.proposal.index:04d}" for each in before) or None


def _cost_s(study: RecordedStudy, child: RecordedChild) -> float:
    course = study.course(child.proposal.index)
    return sum(each.outcome.cost_s for each in course if each.outcome is not None)
