"""What stands on a page: about one study, or about several and the one with the best child."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from nasrunner.recorded import RecordedStudy
from nasrunner.report.comparison.against_baseline import beside_section
from nasrunner.report.comparison.baselines import Baselines
from nasrunner.report.comparison.groups import Group, is_beside, place_of, study_and_baseline
from nasrunner.report.comparison.sections import compare_sections, progress_section
from nasrunner.report.one_study import study_sections
from nasrunner.report.page.parts import Plot, Section, Table
from nasrunner.report.study.configuration import data_name
from nasrunner.report.study.evaluations import counted
from nasrunner.tracker_addresses import addresses_of

_MOST_NAMED = 5  # searches in a title


@dataclass(frozen=True)
class Contents:
    """A page before it is written.

    Attributes:
        title: its heading.
        subtitle: the line below.
        sections: from top to bottom.
        study: the one it is about; None: it compares several.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    study: RecordedStudy | None

    def files(self, folder: Path) -> list[Path]:
        """Returns what ``write_page`` writes into a folder: the page first."""
        files = [folder / "report.html"]
        for part in (part for section in self.sections for part in section.parts):
            match part:
                case Plot():
                    files += [folder / f"{part.name}.png", folder / f"{part.name}.svg"]
                case Table():
                    files.append(folder / f"{part.name}.csv")
        return files


def contents(
    groups: Sequence[Group],
    baselines: Baselines,
    budgets: Sequence[int] | None,
    page: Path | None = None,
) -> Contents:
    """Returns the page about these studies.

    Args:
        groups: of comparable studies; at least one.
        baselines: what each of them is compared with, if anything.
        budgets: numbers of evaluations to compare at; None: the usual ones.
        page: its folder, if the studies' files can be reached from it.
    """
    studies = [study for group in groups for study in group.studies]
    if len(studies) == 1:
        return _about_one(groups[0], None, budgets, page)
    if pair := study_and_baseline(studies):
        mine = next(group for group in groups if group.studies[0] is pair[0])
        if mine.label in baselines:  # else the user wants it the other way round
            return _about_one(mine, baselines[mine.label], budgets, page)
    sections = compare_sections(groups, baselines, budgets, page)
    if best := _best(studies):
        shared = (s for s in studies if is_beside(s, [best]) or is_beside(best, [s]))
        about = study_sections(best, next(shared, None), page)
        about[0] = replace(about[0], text=f"{_which(best, groups)}\n\n{about[0].text}")
        sections += [_of_the_best(each) for each in about]
    places = [place_of(study) for study in studies]
    tracked = next((records for records, _ in addresses_of(studies[0])), None)
    where = os.path.commonpath(places) if tracked is None else tracked.name
    state = counted(sum(s.reason is None for s in studies), "study", "studies")
    running = "" if all(s.reason for s in studies) else f" · {state} running, or broken off"
    return Contents(
        _title(groups, len(studies)),
        f"{counted(len(studies), 'study', 'studies')} in {where}{running}{_scored(studies[0])} · "
        f"written {_now()}",
        sections,
        study=None,
    )


def _about_one(
    group: Group, beside: Group | None, budgets: Sequence[int] | None, page: Path | None
) -> Contents:
    study = group.studies[0]
    theirs = [] if beside is None else [s for s in beside.studies if is_beside(s, [study])]
    sections = study_sections(study, theirs[0] if theirs else None, page)
    if progress := progress_section(group, budgets):
        places = [n for n, section in enumerate(sections) if section.title == "Rewards"]
        sections.insert(places[0] + 1 if places else len(sections), progress)
    if beside is not None:
        sections.insert(1, beside_section(group, beside, budgets))  # below the overview
    subtitle = (
        f"{group.label} on {data_name(study)}, seed {study.seed} · {place_of(study)}"
        f"{_scored(study)} · written {_now()}"
    )
    return Contents(study.name, subtitle, sections, study)


def _title(groups: Sequence[Group], num_studies: int) -> str:
    labels = [group.label for group in groups]
    if len(labels) == 1:
        return f"{num_studies} studies of {labels[0]}"
    if (num_spaces := len({group.space for group in groups})) > 1:
        return f"Comparison of {len(labels)} searches in {num_spaces} spaces"
    if len(labels) > _MOST_NAMED:
        return f"Comparison of {len(labels)} searches"
    return f"Comparison of {', '.join(labels[:-1])} and {labels[-1]}"


def _scored(study: RecordedStudy) -> str:
    """That all rewards of the page are others than the searches were driven by; else empty."""
    return "" if study.rescored is None else f" · re-scored by {study.reward_text or 'the task'}"


def _best(studies: Sequence[RecordedStudy]) -> RecordedStudy | None:
    """The study with the best child, if one was trained to its end; None: none has a reward."""
    found = [study for study in studies if study.best(1)]  # of equal ones the first is taken
    return max(found, key=lambda each: (each.reach is None, _best_reward(each)), default=None)


def _best_reward(study: RecordedStudy) -> float:
    outcome = study.best(1)[0].outcome
    assert outcome is not None
    assert outcome.reward is not None
    return outcome.reward


def _which(best: RecordedStudy, groups: Sequence[Group]) -> str:
    """Which study has the best child, and how many others have one as good."""
    label = next(group.label for group in groups if best in group.studies)
    studies = [study for group in groups for study in group.studies if study.best(1)]
    reward = _best_reward(best)
    num_equal = sum(s.reach == best.reach and _best_reward(s) == reward for s in studies)
    told = f"Of {label} with seed {best.seed}, in {place_of(best)}"
    return f"{told}." if num_equal == 1 else f"{told}: the first of {num_equal} with this reward."


def _of_the_best(section: Section) -> Section:
    title = section.title[:1].lower() + section.title[1:]
    return replace(section, title=f"Best study: {title}")


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")
