"""The arguments of ``nasrunner-calibrate``: key=value, as everywhere in the project."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.command_line import truth
from nasrunner.core.annotations import fits
from nasrunner.core.errors import ConfigError, suggest

HELP = """\
nasrunner-calibrate trains a random sample of a space for real, and tells how well cheap rankings
agree with the rewards: Kendall's tau with 95 % intervals over children, Spearman's rho, and costs;
and which is the cheapest that agrees well enough.

  nasrunner-calibrate space=mlp data=mnist
  nasrunner-calibrate space=mlp data=mnist what=predictors
  nasrunner-calibrate space=small_cnn data=mnist what=proxies num_children=50 trainer.max_epochs=3
  nasrunner-calibrate space=mlp data=mnist what=fidelities 'fidelities={data: [0.1], width: [0.5]}'
  nasrunner-calibrate space=mlp data=mnist what=inherited trainer.max_epochs=9
  nasrunner-calibrate space=nasbench201 data=cifar10 trainer=nasbench201 what=predictors
  nasrunner-calibrate from=outputs/calibration/2026-01-31_12-00-00-000000 what=proxies

  what=predictors   surrogates, which predict children that they were not fitted to, beside
                    parameters and FLOPs alone; what=proxies: scores of networks with their first
                    weights on one training batch; what=fidelities, which is the usual one: the
                    first epochs of the same trainings (until=), and trainings anew with fewer
                    epochs, fewer examples, narrower networks and smaller images; what=inherited:
                    the same first epochs begun with weights of the children before, as
                    searcher=asha around inheriting would, in inherited/until=<epochs>; what=all:
                    all of these
  num_children=30   architectures of the sample, >= 5
  fidelities={...}  names or keys of fidelities with their numbers, instead of the usual ones;
                    each trains the sample once more, in fidelities/<name> of the study's folder
  bound=0.5         recommended is the cheapest ranking whose interval begins above this; the
                    cheapest of trainings, which may be another, is written as an option of
                    searchers in conf/ of the study's folder
  from=...          a study's folder instead of a space: it goes on if it was broken off, and what
                    it has trained is the sample; the other what= needs no further training
  to=...            the study's folder; without it outputs/calibration/<time>
  --config-dir DIR  a configuration folder of your own
  trust=true        for from=: also of a stranger's study whose classes could run any code

All else is as for nasrunner: groups, values, experiments. The table is also written to
calibration-<what>.csv and .json in the study's folder.
"""

What = Literal["predictors", "proxies", "fidelities", "inherited", "all"]

_OWN = ("what", "num_children", "fidelities", "bound", "from", "to", "trust")
_CONFIG_DIR = "--config-dir"
FEWEST = 5
"""Children of a sample, and those with a score that an interval rests on."""

_USUAL: What = "fidelities"
_USUAL_BOUND = 0.5


@dataclass(frozen=True)
class CalibrateArguments:
    """What the command was given.

    Attributes:
        what: which cheap rankings are measured.
        num_children: of the sample; None: not given.
        fidelities: name or key -> numbers; None: the usual ones.
        bound: what the interval of a recommended ranking is above.
        source: a study's folder; None: a sample is drawn.
        to: the folder of the study; None: the usual one.
        trust: whether a stranger's study is taken with all that it names.
        overrides: of the configuration.
        own_dir: the user's own configuration folder.
    """

    what: What
    num_children: int | None
    fidelities: Mapping[str, Sequence[float]] | None
    bound: float
    source: Path | None
    to: Path | None
    trust: bool
    overrides: tuple[str, ...]
    own_dir: Path | None = None


def parse(given: Sequence[str]) -> CalibrateArguments:
    """Returns the arguments as given on the command line.

    Raises:
        ConfigError: one is twice there, has no legal value, or does not go with another.
    """
    own: dict[str, str] = {}
    overrides = []
    if f"{_CONFIG_DIR}=" in given or _CONFIG_DIR in given[-1:]:
        raise ConfigError(f"{_CONFIG_DIR} needs a folder")
    given, own_dir = without_config_dir(given)
    for argument in given:
        key, equals, value = argument.partition("=")
        if key not in _OWN:
            overrides.append(argument)
            continue
        if key in own:
            raise ConfigError(f"{key} is given twice: {own[key]} and {value}")
        if not equals or not value:
            raise ConfigError(f"{key} needs a value")
        own[key] = value
    legal: tuple[What, ...] = get_args(What)
    asked = own.get("what", _USUAL)
    what = next((each for each in legal if each == asked), None)
    if what is None:
        raise ConfigError(f"there is no what={asked}, {suggest(asked, legal)}")
    set_by_us = ("searcher", "baseline", "max_children", "duplicates")
    for argument in overrides:
        key = argument.partition("=")[0].lstrip("+~")
        if "from" in own:
            raise ConfigError(f"from= takes the study as it is: {argument} cannot be given with it")
        if key.partition(".")[0].partition("@")[0] in set_by_us:
            raise ConfigError(
                f"{argument}: the sample is a random search without repetitions; its size is "
                "num_children="
            )
    if own_dir is not None and "from" in own:
        raise ConfigError(f"from= takes the study as it is: {_CONFIG_DIR} cannot be given with it")
    if own_dir is not None and not own_dir.is_dir():
        raise ConfigError(f"{_CONFIG_DIR}: {own_dir} is no folder")
    if "from" in own and own.keys() & {"num_children", "to"}:
        raise ConfigError("from= takes the study as it is: num_children and to are for a new one")
    if "fidelities" in own and what not in ("fidelities", "all"):
        raise ConfigError(f"fidelities= is for what=fidelities and what=all, got what={what}")
    return CalibrateArguments(
        what=what,
        fidelities=_fidelities(own["fidelities"]) if "fidelities" in own else None,
        bound=_bound(own["bound"]) if "bound" in own else _USUAL_BOUND,
        num_children=_count(own["num_children"]) if "num_children" in own else None,
        source=Path(own["from"]) if "from" in own else None,
        to=Path(own["to"]) if "to" in own else None,
        trust=truth("trust", own.get("trust", "false")),
        overrides=tuple(overrides),
        own_dir=own_dir,
    )


def without_config_dir(given: Sequence[str]) -> tuple[list[str], Path | None]:
    """Returns the other arguments, and the user's own configuration folder where one is given."""
    others, own_dir, left = list[str](), None, iter(given)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name == _CONFIG_DIR:
            own_dir = Path(value if equals else next(left, ""))
        else:
            others.append(argument)
    return others, own_dir


def _fidelities(text: str) -> dict[str, list[float]]:
    try:
        given = OmegaConf.to_container(OmegaConf.create(text))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"fidelities={text}: {' '.join(str(error).split())}") from error
    found: dict[str, list[float]] = {}
    named = (
        {str(name): numbers for name, numbers in given.items()} if isinstance(given, dict) else {}
    )
    for name, numbers in named.items():
        listed = numbers if isinstance(numbers, list) else [numbers]
        if not listed or not all(fits(each, float) for each in listed):
            raise ConfigError(f"fidelities: {name} must be a list of numbers, got {numbers!r}")
        if len(set(listed)) < len(listed):
            raise ConfigError(f"fidelities: {name} must have different numbers, got {numbers!r}")
        found[name] = listed
    if not found:
        raise ConfigError(
            "fidelities must be names with lists of numbers, such as {epochs: [1, 3], data: "
            f"[0.1]}}, got {text}"
        )
    return found


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if not -1 <= bound < 1:
        raise ConfigError(f"bound must be a number in [-1, 1), as Kendall's tau is, got {text}")
    return bound


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < FEWEST:
        raise ConfigError(
            f"num_children must be a whole number >= {FEWEST}: fewer children have no ranking to "
            f"speak of, got {text}"
        )
    return int(text)
