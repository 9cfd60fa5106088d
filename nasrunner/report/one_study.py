"""One study on a page: how it went, what it found, and what its searcher learnt."""

from pathlib import Path

from nasrunner.recorded import RecordedStudy
from nasrunner.report.decisions.ancestry import ancestry_section
from nasrunner.report.decisions.learnt import learnt_section
from nasrunner.report.decisions.section import decisions_section
from nasrunner.report.page.parts import Section
from nasrunner.report.study.children import children_section
from nasrunner.report.study.configuration import configuration_section
from nasrunner.report.study.curves import curves_section
from nasrunner.report.study.failures import failures_section
from nasrunner.report.study.goals import goals_of, objectives_section
from nasrunner.report.study.leaderboard import leaderboard_section
from nasrunner.report.study.overview import overview_section
from nasrunner.report.study.pareto import pareto_section
from nasrunner.report.study.rewards import rewards_section
from nasrunner.report.study.rungs import rungs_section
from nasrunner.report.study.timeline import timeline, timeline_section
from nasrunner.report.supernets.section import supernets_section


def study_sections(
    study: RecordedStudy, beside: RecordedStudy | None = None, page: Path | None = None
) -> list[Section]:
    """Makes the sections of one study, whatever state it is in; those without content are left out.

    Args:
        study: the one.
        beside: the search that shared its workers, if it is known.
        page: the page's folder, if the study's files can be reached from it.
    """
    times = timeline(study, beside)
    sections: list[Section | None] = [overview_section(study, times)]
    goals = goals_of(study)
    if study.best(1):
        sections += [leaderboard_section(study), rewards_section(study)]
        sections += [pareto_section(study)] if goals is None else []
    sections += [] if goals is None else [objectives_section(study, goals)]
    sections += [
        learnt_section(study),
        decisions_section(study),
        ancestry_section(study),
        rungs_section(study),
        supernets_section(study),
        curves_section(study),
        failures_section(study),
        timeline_section(study, times) if times is not None else None,
        children_section(study, page),
        configuration_section(study),
    ]
    return [section for section in sections if section is not None]
