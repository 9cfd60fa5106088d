"""The leaves of the space language: how decisions over values are written."""

import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.annotations import fits
from nasrunner.core.decision import OneOf, SearchSchedule, readable_count
from nasrunner.core.errors import SpaceError

MAX_OPTIONS = 100_000
"""A decision of more is refused before its options are listed."""

STEPS = "steps"
"""What may stand beside a leaf that spreads points evenly: how many."""

_DEFAULT_STEPS = 1_000


def leaf_of(value: object, key: str = "") -> str | None:
    """Returns which kind of leaf a value is, if it is one.

    Args:
        value: what stands where a value can stand.
        key: where that is, for error messages.

    Raises:
        SpaceError: it is a decision in another program's words, or a misspelt or damaged one.
    """
    if isinstance(value, str):
        _refuse_call(value, key)
    if not isinstance(value, Mapping):
        return None
    leaves = [name for name in value if name in LEAVES]
    if len(leaves) == 1 and set(value) <= {*leaves, *((STEPS,) if leaves[0] in _SPREAD else ())}:
        return str(leaves[0])
    if len(leaves) > 1 and len(leaves) == len(value):
        raise SpaceError(f"{key} must be one decision, got {' and '.join(map(str, leaves))}")
    if "oneof" in leaves:
        beside = next(name for name in value if name != "oneof")
        raise SpaceError(f"{key}: oneof stands alone in its mapping, got {beside!r} beside it")
    _refuse_foreign(value, key)
    return None


def holds_leaf(value: object, key: str = "") -> bool:
    """Tells whether a value is a leaf, or holds one at any depth.

    Raises:
        SpaceError: as of ``leaf_of``.
    """
    if leaf_of(value, key) is not None:
        return True
    if isinstance(value, Mapping):
        return any([holds_leaf(part, f"{key}.{name}") for name, part in value.items()])
    if isinstance(value, list | tuple):
        return any([holds_leaf(part, f"{key}.{place}") for place, part in enumerate(value)])
    return False


def decision_of(value: Mapping[str, Any], leaf: str) -> OneOf:
    """Returns the decision that a leaf describes.

    Raises:
        ValueError: it cannot be read; says what is wrong.
        SpaceError: the same, from the decision itself.
    """
    if STEPS in value:
        return _SPREAD[leaf](value[leaf], value[STEPS])
    return LEAVES[leaf](value[leaf])


def _oneof(given: object) -> OneOf:
    options = _listed(given)
    _check_count("oneof", len(options))
    return OneOf(tuple(options))


def _range(given: object) -> OneOf:
    """Low to high, both included where the step meets high."""
    low, high, step = _numbers(given, "[low, high, step]")
    if step == 0 or (high - low) * step < 0:
        raise ValueError("range needs a step that leads from low to high")
    if any(isinstance(number, float) for number in (low, high, step)):
        count = math.floor(min((high - low) / step, 2**53) + 1e-9) + 1
    else:
        count = (high - low) // step + 1
    _check_count("range", count)
    return OneOf(tuple(_tidy(low + index * step) for index in range(count)))


def _linspace(given: object) -> OneOf:
    low, high, count = _spaced(given, "linspace")
    return OneOf(_whole([_tidy(float(value)) for value in np.linspace(low, high, count)], given))


def _logspace(given: object) -> OneOf:
    low, high, count = _spaced(given, "logspace")
    if low <= 0 or high <= 0:
        raise ValueError("logspace needs low and high above 0: they are values, not exponents")
    return OneOf(_whole([float(f"{value:.6g}") for value in np.geomspace(low, high, count)], given))


def _uniform(given: object, steps: object = _DEFAULT_STEPS) -> OneOf:
    """Points from low to high, both included, at equal distances."""
    low, high, count = _spread(given, steps, "uniform")
    return OneOf(_told_apart(np.linspace(low, high, count)))


def _loguniform(given: object, steps: object = _DEFAULT_STEPS) -> OneOf:
    """Points from low to high, both included, at equal ratios."""
    low, high, count = _spread(given, steps, "loguniform")
    if low <= 0:
        raise ValueError("loguniform needs low and high above 0: they are values, not exponents")
    return OneOf(_told_apart(np.geomspace(low, high, count)))


def _randint(given: object, steps: object = _DEFAULT_STEPS) -> OneOf:
    """Whole numbers from low to high, both included; evenly spread ones where they are more."""
    low, high, count = _spread(given, steps, "randint")
    if not all(isinstance(number, int) for number in (low, high)):
        raise ValueError("randint needs whole numbers; uniform has others, too")
    last = min(count - 1, high - low)
    return OneOf(tuple(low + (high - low) * index // last for index in range(last + 1)))


def _schedule(given: object) -> SearchSchedule:
    """Start, start + step, … up to end; the next one after so many proposals."""
    form = "it takes the whole numbers start, step, end and every, by name"
    if not isinstance(given, Mapping) or set(given) != {"start", "step", "end", "every"}:
        raise ValueError(form)
    if any(isinstance(n, bool) or not isinstance(n, int) for n in given.values()):
        raise ValueError(form)
    if given["step"] < 1 or given["end"] < given["start"]:
        raise ValueError("a schedule goes up: step must be >= 1 and end >= start")
    if given["every"] < 1:
        raise ValueError("every must be >= 1 proposal")
    values = range(given["start"], given["end"] + 1, given["step"])
    _check_count("schedule", (given["end"] - given["start"]) // given["step"] + 1)
    return SearchSchedule(tuple(values), every=given["every"])


_SPREAD: Mapping[str, Callable[..., OneOf]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "randint": _randint,
}

LEAVES: Mapping[str, Callable[[object], OneOf]] = {
    "oneof": _oneof,
    "range": _range,
    "linspace": _linspace,
    "logspace": _logspace,
    **_SPREAD,
    "schedule": _schedule,
}
"""The decision that each leaf stands for; a ValueError or SpaceError says what is wrong."""

_FOREIGN: Mapping[str, str] = {
    **dict.fromkeys(("choice", "choices", "categorical", "grid_search"), "oneof: […]"),
    **dict.fromkeys(("interval", "float_range"), "uniform: [low, high]"),
    **dict.fromkeys(("quniform", "qrandint", "int_range"), "range: [low, high, step]"),
    **dict.fromkeys(("qloguniform", "lograndint", "qlograndint"), "logspace: [low, high, n]"),
    **dict.fromkeys(("normal", "qnormal", "randn", "qrandn"), "uniform: [low, high]"),
    **dict.fromkeys(("lognormal", "qlognormal"), "loguniform: [low, high]"),
}
"""What NNI, Ray, Optuna, Hyperopt and Hydra's sweepers call a decision -> how it is written."""

_FORMS: Mapping[str, str] = {
    "oneof": "oneof: […]",
    "range": "range: [low, high, step]",
    **{name: f"{name}: [low, high, n]" for name in ("linspace", "logspace")},
    **{name: f"{name}: [low, high]" for name in _SPREAD},
    "schedule": "schedule: {start: …, step: …, end: …, every: …}",
}


_ENDS = (("min", "max"), ("low", "high"), ("lower", "upper"), ("mu", "sigma"))

_DISTRIBUTIONS = frozenset(
    {
        "categorical",
        "int_uniform",
        "q_uniform",
        "q_normal",
        "q_log_normal",
        *(f"{how}log_uniform{of}" for how in ("", "q_", "inv_") for of in ("", "_values")),
    }
)
"""Names that W&B alone has; a module of a user's own may know others, such as ``uniform``."""

_OPTUNA_TYPES = ("float", "int", "categorical")
_OPTUNA_KEYS = frozenset({"type", "low", "high", "step", "log", "choices"})


def written(word: str) -> str | None:
    """Returns how a decision is written that has this name, here or in another program."""
    form = _FORMS.get(word) or _FOREIGN.get(word)
    return None if form is None else f"{{{form}}}"


def meant(value: object) -> str | None:
    """Returns how the decision is written that a mapping may be meant as where a plain value must
    stand.

    Those of W&B's sweeps and of Optuna's arguments: ``{min: …, max: …}``, ``{values: […]}``.
    """
    if not isinstance(value, Mapping):
        return None
    if "values" in value or "choices" in value:
        return written("oneof")
    ends = next((ends for ends in _ENDS if set(ends) <= set(value)), None)
    if ends is None:
        return None
    word = str(value.get("distribution", value.get("type", "")))
    is_log = value.get("log") is True or "log" in word
    has_step = word.startswith("q_") or any(value.get(name) is not None for name in ("q", "step"))
    is_whole = "int" in word or (not word and all(isinstance(value[end], int) for end in ends))
    if is_log:
        return written("logspace" if has_step or is_whole else "loguniform")
    return written("range" if has_step else "randint" if is_whole else "uniform")


def hint_of_decision(value: object) -> str:
    """Returns the end of an error message, where a refused mapping is probably meant as a
    decision.
    """
    form = meant(value)
    return "" if form is None else f"; a decision is written {form}"


def _refuse_foreign(value: Mapping[Any, Any], key: str) -> None:
    """Refuses a mapping that can only be meant as a decision."""
    if "_type" in value and "_value" in value:
        word, given = str(value["_type"]), value["_value"]
        form = written(word) or written("oneof")
        raise SpaceError(f"{key}: {{_type: {word}, _value: {given}}} is written {form}")
    is_wandb = value.get("distribution") in _DISTRIBUTIONS
    is_optuna = value.get("type") in _OPTUNA_TYPES and set(value) <= _OPTUNA_KEYS
    if (is_wandb or is_optuna) and (form := meant(value)):
        raise SpaceError(f"{key}: a decision {dict(value)} is written {form}")
    if len(value) != 1:
        return
    ((name, given),) = value.items()
    if name in _FOREIGN and isinstance(given, list | tuple | Mapping):
        raise SpaceError(f"{key}: a decision {name!r} is written {written(name)}")
    plain = str(name).replace("_", "").replace("-", "").lower()
    near = difflib.get_close_matches(plain, LEAVES, n=1, cutoff=0.8)
    if near and (plain == near[0] or isinstance(given, list | tuple)):
        raise SpaceError(
            f"{key}: there is no decision {name!r}, did you mean {near[0]!r}? Legal: "
            f"{', '.join(LEAVES)}"
        )


def _refuse_call(value: str, key: str) -> None:
    """Refuses a text such as ``interval(1e-5, 1e-2)``, which is a sweep where Hydra reads it."""
    word, bracket, rest = value.strip().partition("(")
    if bracket and rest.endswith(")") and (form := written(word)):
        raise SpaceError(f"{key}: a decision {value.strip()!r} is written {form}")


def _tidy(value: float) -> float:
    """Rounds 0.30000000000000004 to 0.3; whole numbers stay as they are."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _whole(values: Sequence[float], given: Any) -> tuple[float, ...]:
    """Whole numbers where they were given and all come out whole."""
    is_whole = not any(isinstance(number, float) for number in given)
    return tuple(map(int, values) if is_whole and all(v.is_integer() for v in values) else values)


def _told_apart(values: np.ndarray) -> tuple[float, ...]:
    """Rounds numbers to the fewest digits that keep them apart; first and last stay exact."""
    low, *between, high = (float(value) for value in values)
    for digits in (6, 12, 17):
        found = (low, *(float(f"{value:.{digits}g}") for value in between), high)
        if all(before < after for before, after in itertools.pairwise(found)):
            return found
    raise ValueError("there are not so many numbers between low and high")


def _spaced(given: object, leaf: str) -> tuple[float, float, int]:
    low, high, count = _numbers(given, "[low, high, n]")
    if count != int(count) or count < 1 or (count > 1 and low == high):
        raise ValueError("low and high must differ and n be a whole number >= 1")
    _check_count(leaf, int(count))
    return low, high, int(count)


def _spread(given: object, steps: object, leaf: str) -> tuple[Any, Any, int]:
    low, high = _numbers(given, "[low, high]")
    if not low < high:
        raise ValueError(f"{leaf} needs low below high")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps must be a whole number >= 2, not {steps!r}")
    _check_count(leaf, steps)
    return low, high, steps


def _check_count(leaf: str, count: int) -> None:
    if count > MAX_OPTIONS:
        raise ValueError(
            f"{leaf} must have at most {MAX_OPTIONS:,} values and has {readable_count(count)}"
        )


def _numbers(given: object, form: str) -> Sequence[Any]:
    given = _listed(given)
    how_many = {2: "two", 3: "three"}[form.count(",") + 1]
    if len(given) != form.count(",") + 1 or not all(fits(value, float) for value in given):
        raise ValueError(f"it takes {how_many} numbers {form}")
    if not all(isinstance(n, int) or math.isfinite(n) for n in given) or _overflows(given):
        raise ValueError(f"it takes {how_many} finite numbers {form}")
    return given


def _overflows(given: Sequence[Any]) -> bool:
    try:
        return not all(math.isfinite(float(n)) for n in (*given, given[1] - given[0]))
    except OverflowError:  # a whole number that no float can be
        return True


def _listed(given: object) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError("it takes a list")
    return given
