"""The arguments of ``nasrunner-report``: key=value, as everywhere in the project."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nasrunner.command_line import check_folder, truth
from nasrunner.compose.trackers import records_at, shipped_records
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.report.comparison.groups import Grouping, folder_name
from nasrunner.rescoring.request import KEYS as REWARD_KEYS
from nasrunner.rescoring.request import Rescoring, is_of_reward, read_rescoring

_HELP = """\
nasrunner-report writes one page about recorded studies: report.html, which needs no other file,
and its figures as PNG and SVG and its tables as CSV.

  nasrunner-report from=outputs/tpe-mlp/2026-01-31_12-00-00-000000
  nasrunner-report from=outputs/multirun/sweep,outputs/another to=comparison
  nasrunner-report from=outputs/multirun/sweep budgets=10,25,50,100 baseline=random
  nasrunner-report from=runs:/0123456789abcdef0123456789abcdef
  nasrunner-report from={option} experiment=nasrunner "filter=tags.`nasrunner.searcher` = 'Tpe'"
  nasrunner-report watch=outputs/multirun/sweep

Which studies
  from=...          folders, separated by commas: the studies in them and below;
                    {scheme}<id>: a study in {name}; {option}: all there that are asked for with
  experiment=...    the experiment's name; without it all experiments
  filter=...        in the language of {name}'s filters, on the runs of studies
  tracking_uri=...  where {name} keeps them; without it that of conf/tracker/{option}.yaml
  trust=true        also studies of strangers whose spaces name classes that could run any code
  watch=...         folders: the page is written again while their studies run, and reloads itself
  every_s=5         for watch: seconds from one look at the studies to the next

Several studies are compared. They must have the same reward and the same data; where their spaces
differ, a search is compared with the baseline in its own. A study with a baseline beside it is
compared with that.
  group=settings    which studies are repetitions of one search, and averaged: those that differ by
                    seed and budget only; group=name: those that were given the same name (study=)
  baseline=random   the search all others are compared with: a searcher, or a label on the page;
                    without it random search, if it is there. Differences are those of the best
                    reward, and of the mean of the best 1, 5 and 15 different children
  budgets=10,25     numbers of evaluations to compare at; without it 10, 25, 50, 100, 250, ...

Another reward than the studies were searched with; they stay as they are, and nothing is trained
  reward=val_loss   another metric that was recorded of all children: val_loss, flops, ...
  reward.mode=min   which values are better; without it as known; and reward.reduce=last, and all
                    else that task.reward has
  objectives=..., scalarization=product
                    as of nasrunner, over recorded metrics; scalarization=null: the task's reward

The page
  to=...            its folder; without it <study>/report, or report beside several studies, and
                    report-rescored where rewards are
  each=true         also a page of each study that is compared, to which the comparison leads
  overwrite=true    also over files there that another made, or that were changed since
  log=true          also to the trackers of the study, or of each that is compared, under report.
                    Without it no tracker is asked about a folder. A study that you did not begin
                    is looked for at tracking_uri, or where your own is
"""

Value = TypeVar("Value")


def help_text() -> str:
    """Returns what ``--help`` prints; its example of a tracker is the first that can be read."""
    option, records = next(iter(shipped_records().items()))
    return _HELP.format(option=option, name=records.name, scheme=records.scheme)


@dataclass(frozen=True)
class ReportArguments:
    """What the command was given; None where it was not, and is found out.

    Attributes:
        places: folders, addresses in a tracker, or the name of one.
        is_watching: the page is written until the studies have ended.
        to: the folder of the page.
        each: whether each of several studies gets a page of its own, too.
        overwrite: whether files of others that lie there are replaced.
        budgets: numbers of evaluations.
        baseline: a searcher or a group's label.
        group: which studies are averaged.
        log: whether the page goes to the trackers, too.
        every_s: seconds between two looks, > 0.
        trust: whether modules that a stranger's space names are built.
        tracking_uri, experiment, filter: for the tracker.
        rescoring: what rewards are made of; None: what the studies searched with.
    """

    places: tuple[str, ...]
    is_watching: bool
    to: Path | None
    each: bool
    overwrite: bool
    budgets: tuple[int, ...] | None
    baseline: str | None
    group: Grouping
    log: bool
    every_s: float
    trust: bool
    tracking_uri: str | None
    experiment: str | None
    filter: str | None
    rescoring: Rescoring | None = None

    @property
    def folder_name(self) -> str:
        """What the folder of a page is called; that of another reward replaces no usual one."""
        return folder_name(is_rescored=self.rescoring is not None)

    @property
    def tracker(self) -> str | None:
        """The tracker that the studies come from, an option of ``conf/tracker``; None: folders."""
        return _tracker_of(self.places[0])


def parse(given: Sequence[str]) -> ReportArguments:
    """Returns the arguments as given on the command line.

    Raises:
        ConfigError: one is unknown, twice there, or has no legal value.
    """
    values: dict[str, str] = {}
    of_reward = [each for each in given if is_of_reward(each.partition("=")[0])]
    for argument in given:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"arguments are key=value, got {argument!r}: from={argument}?")
        if key not in _KEYS and argument not in of_reward:
            raise ConfigError(f"there is no key {key!r}, {suggest(key, (*_KEYS, *REWARD_KEYS))}")
        if key in values:
            raise ConfigError(f"{key} is given twice: {values[key]} and {value}")
        if not value:
            raise ConfigError(f"{key} needs a value")
        values[key] = value
    if len(values.keys() & {"from", "watch"}) != 1:
        *first, last = _kinds_of_places()
        legal = f"{', '.join(first)} or {last}"
        raise ConfigError(f"from=<{legal}> or watch=<folders> is needed")
    arguments = ReportArguments(
        places=_places(values.get("from") or values["watch"]),
        is_watching="watch" in values,
        to=_optional(values, "to", Path),
        budgets=_optional(values, "budgets", _budgets),
        baseline=values.get("baseline"),
        group=_one_of(values, "group", ("settings", "name")),
        each=truth("each", values.get("each", "false")),
        overwrite=truth("overwrite", values.get("overwrite", "false")),
        log=truth("log", values.get("log", "false")),
        every_s=_optional(values, "every_s", _seconds) or 5.0,
        trust=truth("trust", values.get("trust", "false")),
        tracking_uri=values.get("tracking_uri"),
        experiment=values.get("experiment"),
        filter=values.get("filter"),
        rescoring=read_rescoring(of_reward),
    )
    _check(arguments)
    return arguments


_KEYS = (
    "from",
    "watch",
    "to",
    "each",
    "overwrite",
    "budgets",
    "baseline",
    "group",
    "log",
    "every_s",
    "trust",
    "tracking_uri",
    "experiment",
    "filter",
)


def _check(arguments: ReportArguments) -> None:
    check_folder("to", arguments.to)
    trackers = {_tracker_of(place) for place in arguments.places}
    is_named = bool(trackers & set(arguments.places))
    if len(trackers) > 1 or (is_named and len(arguments.places) > 1):
        legal = ", or ".join(_kinds_of_places())
        raise ConfigError(f"from: give {legal}, not several of these")
    if arguments.tracker is not None and arguments.is_watching:
        name = shipped_records()[arguments.tracker].name
        raise ConfigError(f"watch needs folders: {name} has a study's ledger when the study ends")
    if arguments.each and (arguments.tracker is not None or arguments.is_watching):
        raise ConfigError("each=true needs from=<folders>: pages stand in the studies' folders")
    for key in ("experiment", "filter"):
        if getattr(arguments, key) is not None and not is_named:
            legal = " or ".join(f"from={name}" for name in shipped_records())
            raise ConfigError(f"{key} is for {legal}, got from={','.join(arguments.places)}")


def _tracker_of(place: str) -> str | None:
    """The tracker that a place is of, an option of ``conf/tracker``; None: it is a folder."""
    if place in shipped_records():
        return place
    found = records_at(place)
    return None if found is None else found[0]


def _kinds_of_places() -> list[str]:
    """What studies may come from, in words."""
    found = ["folders"]
    for option, records in shipped_records().items():
        found += [f"{records.scheme}<id>", option]
    return found


def _places(value: str) -> tuple[str, ...]:
    if os.path.exists(value):  # also where its name has commas
        return (value,)
    places = [place.strip() for place in value.strip("[]").split(",")]
    return tuple(dict.fromkeys(place for place in places if place)) or (value,)


def _budgets(value: str) -> tuple[int, ...]:
    parts = [part.strip() for part in value.strip("[]()").split(",")]
    if not all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) for part in parts):
        raise ConfigError(f"budgets must be whole numbers >= 1, as in 10,25,50; got {value!r}")
    return tuple(sorted({int(part) for part in parts}))


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise ConfigError(f"every_s must be seconds > 0 and below a day, got {value!r}")
    return seconds


def _one_of(values: Mapping[str, str], key: str, legal: Sequence[Any]) -> Any:
    value = values.get(key, legal[0])
    if value not in legal:
        raise ConfigError(f"{key}={value} is no way to group, {suggest(value, legal)}")
    return value


def _optional(values: Mapping[str, str], key: str, make: Callable[[str], Value]) -> Value | None:
    return make(values[key]) if key in values else None
