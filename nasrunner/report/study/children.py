"""Every child of a study, in a table that rows of others lead to."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from nasrunner.core.space import living
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Section, Table, TableCell
from nasrunner.report.study.rungs import went_on_from

_MOST_SHOWN = 1000


def link_to(study: RecordedStudy, index: int) -> TableCell:
    """Returns a child's number, which leads to its row if the page shows it."""
    proposal, shown = study.state.proposals.get(index), study.listed[:_MOST_SHOWN]
    is_child = proposal is not None and proposal.kind != "estimate"
    is_shown = is_child and index <= shown[-1].proposal.index
    return TableCell(f"{index:04d}", link=f"#child-{index:04d}" if is_shown else None)


def children_section(study: RecordedStudy, page: Path | None = None) -> Section | None:
    """Lists all but estimates in the order they were proposed; None where there are none.

    Args:
        study: whose they are.
        page: the folder of the page, from which numbers lead to children's folders; None: they
            do not.
    """
    if not study.listed:
        return None
    texts = _texts(study)
    rows = [_row(study, child, page, texts) for child in study.listed]
    columns = (
        *("child", "status", "reward", "parameters", "training (s)", "from"),
        "architecture",
    )
    known = [place for place, _ in enumerate(columns) if any(_is_known(row[place]) for row in rows)]
    leads = "" if page is None else "; a number leads to the child's folder, where it has one"
    caption = (
        f"In the order they were proposed{leads}. From: the child that it was mutated from, goes "
        "on with or repeats."
    )
    if len(study.listed) < len(study.children):
        caption += " Estimates are left out."
    table = Table(
        "children",
        "All children",
        caption,
        tuple(columns[place] for place in known),
        [[row[place] for place in known] for row in rows],
        most_rows=_MOST_SHOWN,
    )
    return Section("Children", "", [table])


def _texts(study: RecordedStudy) -> Mapping[str, str]:
    """The architectures as people read them, by the hash of their genotypes: repeats cost nothing.

    A supernet is none.
    """
    named = {
        child.proposal.architecture: child.proposal.genotype
        for child in study.listed
        if child.proposal.kind != "supernet"
    }
    return {name: living(study.space.freeze(each)).text() for name, each in named.items()}


def _row(
    study: RecordedStudy, child: RecordedChild, page: Path | None, texts: Mapping[str, str]
) -> list[object]:
    outcome, index = child.outcome, child.proposal.index
    metrics = {} if outcome is None else outcome.metrics
    parameters = metrics.get("parameters")
    return [
        TableCell(f"{index:04d}", link=_folder(child, page), anchor=f"child-{index:04d}"),
        _status(child),
        None if outcome is None else outcome.reward,
        None if parameters is None else round(parameters),
        None if outcome is None else outcome.cost_s or None,
        None if (source := _source(child)) is None else link_to(study, source),
        "" if child.proposal.kind == "supernet" else texts[child.proposal.architecture],
    ]


def _folder(child: RecordedChild, page: Path | None) -> str | None:
    """The address of the child's folder, from that of the page."""
    if page is None or not child.folder.is_dir():
        return None
    return f"{quote(os.path.relpath(child.folder.resolve(), page.resolve()))}/"


def _status(child: RecordedChild) -> str:
    outcome = child.outcome
    if outcome is None:
        return "in flight"
    told = "repeated" if outcome.reused_from is not None else outcome.told_status.replace("_", " ")
    return told if child.proposal.kind == "train" else f"{child.proposal.kind}, {told}"


def _source(child: RecordedChild) -> int | None:
    """The child that it comes from, if any."""
    outcome, proposal = child.outcome, child.proposal
    if outcome is not None and outcome.reused_from is not None:
        return outcome.reused_from
    before = went_on_from(proposal)
    return proposal.parent if before is None else before


def _is_known(value: object) -> bool:
    return value is not None and value != ""
