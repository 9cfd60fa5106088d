"""The section of a study that trained one network with the weights of many."""

from nasrunner.recorded import RecordedStudy
from nasrunner.report.page.parts import Part, Section
from nasrunner.report.supernets.derived import derived_parts
from nasrunner.report.supernets.estimated import estimated_plot
from nasrunner.report.supernets.probabilities import probability_parts
from nasrunner.report.supernets.training import training_plot

_MOST_SHOWN = 6
"""So many of a study's supernets are shown, the last ones."""


def supernets_section(study: RecordedStudy) -> Section | None:
    """Returns how supernets were trained, what was derived, and what estimates are worth.

    None where no supernet has told of an epoch yet.
    """
    every = [child for child in study.children if child.proposal.kind == "supernet"]
    shown = every[-_MOST_SHOWN:]
    found: list[Part | None] = [training_plot(shown)]
    found += [*probability_parts(shown), *derived_parts(study, shown), estimated_plot(study)]
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    text = (
        "A supernet holds the weights of all architectures and is no child. Where both are known, "
        "what it says of an architecture is compared with what training from first weights says."
    )
    if len(every) > len(shown):
        text += f" Of {len(every)} supernets the last {len(shown)} are shown."
    return Section("Supernet", text, parts)
