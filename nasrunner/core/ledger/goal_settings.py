"""Reads a study's goals from its configuration: ``objectives`` and ``scalarization``."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, get_args

from nasrunner.core.annotations import FINITE, AtLeast, fits, readable
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.ledger.goals import (
    Goals,
    Product,
    Scalarization,
    UnderLimits,
    WeightedSum,
)
from nasrunner.core.ledger.objectives import COSTS, Objective

_DIRECTIONS = ("max", "min")
_NUMBER = Annotated[float, FINITE]
_SOFT = -0.07
"""w of MnasNet's soft product, with which twice the latency is worth 5 % of accuracy."""


def read_goals(config: Mapping[str, Any]) -> Goals | None:
    """Returns what a study compares its children by; None: the reward alone.

    Args:
        config: the study's, resolved. Under ``objectives`` it has name -> ``max`` or ``min``, or a
            mapping with ``goal`` and, where wanted, ``limit`` and ``reference``; under
            ``scalarization`` null, ``weighted_sum``, ``product`` or ``limit``, by name or with its
            settings.

    Raises:
        ConfigError: it is not written like this, or the two do not go together.
    """
    given, scalarization = config.get("objectives"), config.get("scalarization")
    if given is None:
        if scalarization is not None:
            raise ConfigError(
                f"scalarization={scalarization} makes a reward of objectives, and there are none: "
                "set objectives={…}, or scalarization=null"
            )
        return None
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            "objectives must map the names of metrics to max or min, as in "
            f"{{val_accuracy: max, flops: min}}; got {given!r}"
        )
    objectives = tuple(_objective(str(name), each) for name, each in given.items())
    if scalarization is None:
        return Goals(objectives)
    made = _scalarization(scalarization, objectives)
    if isinstance(made, Product):  # its targets may be missed
        hard = (e.limit if e.name not in made.targets else None for e in objectives)
        pairs = zip(objectives, hard, strict=True)
        objectives = tuple(Objective(e.name, e.direction, h, e.reference) for e, h in pairs)
    return Goals(objectives, made)


def reward_of_task(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the settings of the rule by which a task rewards children; empty if it has none.

    Args:
        config: a study's, resolved or as recorded.
    """
    task = config.get("task")
    given = task.get("reward") if isinstance(task, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def reward_of_trainer(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Returns what a trainer takes rewards from in the place of the task's rule; None: nothing.

    Args:
        config: a study's, resolved or as recorded.

    Returns:
        ``("reward", column)`` of a table, or ``("proxy", name)`` of a score that costs no training.
    """
    trainer = config.get("trainer")
    given = trainer if isinstance(trainer, Mapping) else {}
    named = ((key, given.get(key)) for key in ("reward", "proxy"))
    return next(((key, name) for key, name in named if isinstance(name, str)), None)


def check_measured(names: Collection[str], measured: Collection[str]) -> None:
    """Refuses objectives that no child measures.

    Args:
        names: of the objectives.
        measured: of what children measure, the reward among them.

    Raises:
        ConfigError: names the first, and what may be meant.
    """
    for name in names:
        if name not in measured:
            raise ConfigError(
                f"objectives.{name}: no child measures {name!r}, {suggest(name, measured)}"
            )


def check_limits(objectives: Collection[Objective]) -> None:
    """Refuses limits of costs that no network is within.

    Raises:
        ConfigError: names the first.
    """
    for each in objectives:
        is_cost = each.name in COSTS and each.direction == "min"
        if is_cost and each.limit is not None and each.limit <= 0:
            raise ConfigError(
                f"objectives.{each.name}.limit must be > 0, as no network costs less, got "
                f"{each.limit}"
            )


def _objective(name: str, given: Any) -> Objective:
    key = f"objectives.{name}"
    settings = given if isinstance(given, Mapping) else {"goal": given}
    legal = ("goal", "limit", "reference")
    for each in settings:
        if each not in legal:
            raise ConfigError(f"{key}: there is no key {each!r}, {suggest(str(each), legal)}")
    goal = settings.get("goal")
    if goal not in _DIRECTIONS:
        raise ConfigError(
            f"{key}: {goal!r} is no direction, {suggest(str(goal), _DIRECTIONS)}"
            if goal is not None
            else f"{key} needs a goal: max or min"
        )
    for each in legal[1:]:
        if not fits(settings.get(each), _NUMBER | None):
            raise ConfigError(f"{key}.{each} must be a finite number, got {settings[each]!r}")
    return Objective(name, goal, settings.get("limit"), settings.get("reference"))


def _scalarization(given: Any, objectives: Sequence[Objective]) -> Scalarization:
    name, settings = given, None
    if isinstance(given, Mapping) and len(given) == 1:
        ((name, settings),) = given.items()
    if not isinstance(name, str) or name not in _READ:
        raise ConfigError(
            f"scalarization: {given!r} is none, {suggest(str(name), [*_READ, 'null'])}"
        )
    if not isinstance(settings, Mapping | None):
        raise ConfigError(f"scalarization.{name} must be a mapping, got {settings!r}")
    return _READ[name](settings or {}, objectives)


def _weighted_sum(settings: Mapping[str, Any], objectives: Sequence[Objective]) -> WeightedSum:
    key, names = "scalarization.weighted_sum", [each.name for each in objectives]
    for name in settings:
        if name not in names:
            raise ConfigError(f"{key}: {name!r} is no objective, {suggest(str(name), names)}")
    for name in names:
        weight = settings.get(name)
        if not fits(weight, Annotated[float, AtLeast(0)]):
            raise ConfigError(f"{key}.{name} must be the weight of {name}, >= 0; got {weight!r}")
    return WeightedSum({name: settings[name] for name in names}, tuple(objectives))


def _product(settings: Mapping[str, Any], objectives: Sequence[Objective]) -> Product:
    key = "scalarization.product"
    exponents = _numbers(key, settings, {"within": _SOFT, "beyond": _SOFT}, _NUMBER)
    maximised = [each.name for each in objectives if each.direction == "max"]
    if not maximised:
        raise ConfigError(f"{key} needs an objective to maximise, and there are only others")
    targets: dict[str, float] = {}
    for each in objectives:
        if each.direction == "min":
            if each.limit is None or each.limit <= 0:
                raise ConfigError(
                    f"{key} divides {each.name} by its target: objectives.{each.name}.limit must "
                    f"be a number > 0, got {each.limit}"
                )
            targets[each.name] = each.limit
    return Product(exponents["within"], exponents["beyond"], tuple(maximised), targets)


def _limit(settings: Mapping[str, Any], objectives: Sequence[Objective]) -> UnderLimits:
    key, by_name = "scalarization.limit", {each.name: each for each in objectives}
    if all(each.limit is None for each in objectives):
        raise ConfigError(f"{key} needs a limit: objectives.<name>={{goal: min, limit: 5}}")
    others = {name: value for name, value in settings.items() if name != "objective"}
    found = _numbers(key, others, {"beyond": None}, _NUMBER | None, beside=("objective",))
    name = settings.get("objective", objectives[0].name)
    if name not in by_name:
        raise ConfigError(f"{key}.objective: {name!r} is none, {suggest(str(name), by_name)}")
    return UnderLimits(by_name[name], found["beyond"])


def _numbers(
    key: str,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    annotation: Any,
    beside: Sequence[str] = (),
) -> dict[str, Any]:
    for name, value in settings.items():
        if name not in defaults:
            legal = [*beside, *defaults]
            raise ConfigError(f"{key}: there is no key {name!r}, {suggest(str(name), legal)}")
        if not fits(value, annotation):
            told = " or ".join(map(readable, get_args(annotation)[:1])) or readable(annotation)
            raise ConfigError(f"{key}.{name} must be {told}, got {value!r}")
    return {**defaults, **settings}


_READ: Mapping[str, Callable[[Mapping[str, Any], Sequence[Objective]], Scalarization]] = {
    "weighted_sum": _weighted_sum,
    "product": _product,
    "limit": _limit,
}
