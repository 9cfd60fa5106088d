"""How a supernet was trained: its metrics by epoch, and the architecture that it derived."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import NO_METRICS, ChildFolder
from nasrunner.core.space import living
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.page.parts import Drawing, Part, Plot, Section, Table
from nasrunner.report.page.style import colour_of, small_multiples, title, whole_numbers
from nasrunner.rescoring.measured import Curve, read_curve
from nasrunner.spaces.pictures.drawing import draw

_COLUMNS = 3

_NOT_DRAWN = (*NO_METRICS, "learning_rate")


def supernet_section(study: RecordedStudy) -> Section | None:
    """What was measured and derived after each epoch; None where no supernet has files.

    Raises:
        ConfigError: a file is damaged.
    """
    child = next((each for each in study.children if each.proposal.kind == "supernet"), None)
    if child is None:
        return None
    curve, derived = read_curve(child), _derived(child)
    parts: list[Part] = [_plot(curve)] if _names(curve) else []
    if derived:
        last = derived[-1]
        picture = draw(living(study.space.freeze(last["genotype"])))
        told = f"The likeliest after epoch {last['epoch'] + 1}."
        parts += [_table(derived), Drawing("What the supernet derived", told, picture)]
    return Section("The supernet", "", parts) if parts else None


def _derived(child: RecordedChild) -> list[dict[str, Any]]:
    try:
        return ChildFolder(child.folder).derived()
    except ValueError as error:
        raise ConfigError(
            f"{error}. Without the file, the report leaves out what the supernet derived"
        ) from error


def _names(curve: Curve) -> list[str]:
    """The metrics of its epochs, in the order in which they were first measured."""
    found = dict.fromkeys(name for line in curve for name in line)
    return [name for name in found if name not in _NOT_DRAWN]


def _plot(curve: Curve) -> Plot:
    names = _names(curve)
    made, axes = small_multiples(len(names), columns=min(_COLUMNS, len(names)))
    for each, name in zip(axes, names, strict=True):
        points = [(line["epoch"] + 1, line[name]) for line in curve if name in line]
        each.plot(*zip(*points, strict=True), color=colour_of("blue"), marker=".")
        title(each, name)
        whole_numbers(each)
    for each in axes[-min(_COLUMNS, len(names)) :]:
        each.set_xlabel("epochs")
    caption = (
        "After each epoch of its weights. Validated are networks that it drew, another for each "
        "batch. Where it learnt which to draw: drawn_reward is the mean reward of what it learnt "
        "from, policy_entropy that of a decision in nats, skip_share how often a decision that "
        "could was answered by an operation that passes its input on."
    )
    return Plot("supernet", "The supernet by epoch", caption, made)


def _table(derived: Sequence[Mapping[str, Any]]) -> Table:
    """The epochs after which another architecture was derived than before."""
    before = [None, *(each["text"] for each in derived)]
    changes = [each for each, text in zip(derived, before, strict=False) if each["text"] != text]
    caption = f"Of {len(derived):,} epochs those that changed it."
    rows = [[each["epoch"] + 1, each["text"]] for each in changes]
    return Table("derived", "The likeliest architecture", caption, ("epoch", "architecture"), rows)
