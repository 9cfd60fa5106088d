"""The cheapest ranking that is good enough, and the searcher's option for it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasrunner.calibrate.agreement import Agreement
from nasrunner.calibrate.cheaper import ETA
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.core.machine.files import keep_file
from nasrunner.core.screen.commands import short

Found = Mapping[str, tuple[CheapRanking, Agreement]]
"""Cheap rankings by name, each with how it agrees with the full one."""

OPTION = "calibrated"
"""What the searcher's option is called: ``searcher=calibrated``."""

_INHERITING = """\
  - override /searcher@searcher: inheriting
  # proposals without parents, as calibrated: searcher@searcher.searcher.searcher=… takes others
  - override /searcher@searcher.searcher: random
"""


def cheapest(found: Found, bound: float, training_s: float) -> str | None:
    """Returns the cheapest ranking whose interval begins above a bound; None: there is none.

    Args:
        found: all rankings.
        bound: of Kendall's tau.
        training_s: what a full training costs, which it must be below.
    """
    good = [n for n, (own, each) in found.items() if each.low > bound and own.cost_s < training_s]
    return min(good, key=lambda name: found[name][0].cost_s, default=None)


def trained_alone(found: Found) -> Found:
    """Returns those of cheaper trainings, which a searcher can be given as rungs."""
    return {name: each for name, each in found.items() if each[0].asked is not None}


def rungs_from(found: Found, name: str) -> tuple[str, list[float]]:
    """Returns the rungs of a searcher that begins with a ranking: it, and what costs more.

    Returns:
        ``until`` or the name of a fidelity, and its numbers, increasing.
    """
    begins = found[name][0]
    assert begins.asked is not None, "it is of trainings"
    what, first = begins.asked
    alike = [
        other.asked
        for other, _ in found.values()
        if other.asked is not None and other.inherits == begins.inherits
    ]
    numbers = [number for asked, number in alike if asked == what and number >= first]
    return what, sorted(numbers)


def write_option(folder: Path, found: Found, name: str, training_s: float) -> Path:
    """Writes a searcher's option, with the rungs that begin with a ranking.

    Args:
        folder: the calibration's; its folder ``conf`` is a configuration folder then.
        found: all rankings.
        name: that of the first rung.
        training_s: what a full training costs.

    Returns:
        the configuration folder.
    """
    what, numbers = rungs_from(found, name)
    ranking, agreement = found[name]
    written = ", ".join(f"{number:g}" for number in numbers)
    key = "rungs: " if what == "until" else "fidelity: "
    value = f"[{written}]" if what == "until" else f"{{{what}: [{written}]}}"
    share = ranking.cost_s / training_s if training_s > 0 else float("nan")
    around = _INHERITING if ranking.inherits else ""
    conf = folder / "conf"
    path = conf / "searcher" / f"{OPTION}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_file(
        path,
        f"# {name}: Kendall's tau with full trainings {agreement.tau:.2f}, 95 % interval "
        f"{agreement.low:.2f} to {agreement.high:.2f},\n"
        f"# for {share:.2%} of a training. Written by nasrunner-calibrate\n"
        f"defaults:\n  - asha\n{around}  - _self_\neta: {ETA}\n{key}{value}\n",
    )
    return conf


def command_with(conf: Path, overrides: Sequence[str]) -> str:
    """Returns the command that searches with the option."""
    given = [each for each in overrides if not each.startswith(("study=", "hydra."))]
    words = ["--config-dir", short(conf), f"searcher={OPTION}", *(given or ["space=…", "data=…"])]
    return f"nasrunner {' '.join(map(shlex.quote, words))}"
