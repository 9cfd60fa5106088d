"""Children without a reward, grouped by why."""

import re

from nasrunner.core.records import Outcome, last_line
from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Section, Table
from nasrunner.report.study.children import link_to

_NUMBER = re.compile(r"\b\d+(?:[.,_]\d+)*(?:e[+-]?\d+)?")


def failures_section(study: RecordedStudy) -> Section | None:
    """Returns failed and invalid children by reason; None where there are none."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for child in study.recorded:
        outcome = child.outcome
        if outcome is not None and outcome.status in ("failed", "invalid"):
            kind = outcome.proposal.kind
            what = outcome.status if kind == "train" else f"{kind}, {outcome.status}"
            groups.setdefault((what, reason(outcome.error)), []).append(outcome)
    if not groups:
        return None
    rows = [
        [
            len(outcomes),
            status,
            why,
            link_to(study, outcomes[0].proposal.index),
            outcomes[0].error,
        ]
        for (status, why), outcomes in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    caption = (
        "Reasons are the last lines of the errors; those that differ in numbers alone are one "
        "reason. A failed child broke in training, an invalid one was never trained."
    )
    columns = ("children", "status", "reason", "first child", "its error")
    if any("," in status for status, _ in groups):
        columns = ("number", "what", "reason", "first", "its error")
    table = Table("failures", "Reasons", caption, columns, rows)
    return Section("Failed and invalid children", "", [table])


def reason(error: str | None) -> str:
    """Returns the last line of an error, with every number as ``…``."""
    return _NUMBER.sub("…", last_line(error, None).strip())
