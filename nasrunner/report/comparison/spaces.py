"""The spaces of studies: what each is called where they differ, and how they do."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from nasrunner.recorded import RecordedStudy
from nasrunner.report.study.evaluations import clipped, counted

_MAX_NAMED = 3  # kinds of decisions, options, or values in a row


def names_of_spaces(studies: Sequence[RecordedStudy]) -> list[str]:
    """Returns what the space of each study is called; empty texts where all have the same.

    A space is called as it was chosen on the command line; where that is not known, or is the
    same for different ones, it has a number, in the order they come.
    """
    keys = [_key(study) for study in studies]
    if len(set(keys)) == 1:
        return [""] * len(keys)
    first = {key: study for key, study in zip(reversed(keys), reversed(studies), strict=True)}
    chosen = {key: _chosen(first[key]) for key in dict.fromkeys(keys)}
    names = {}
    for number, (key, name) in enumerate(chosen.items(), start=1):
        is_unique = list(chosen.values()).count(name) == 1
        names[key] = name if name and is_unique else f"{name}#{number}"
    return [names[key] for key in keys]


def difference_of_spaces(spaces: Mapping[str, RecordedStudy]) -> str:
    """Returns one sentence on how the other spaces differ from the first; empty where there is one.

    Args:
        spaces: name of a space -> one of the studies that searched it.
    """
    (first, mine), *others = spaces.items()
    if not others:
        return ""
    parts = [
        f"{other} {', '.join(each)}" for other, theirs in others if (each := _how(mine, theirs))
    ]
    return f"The spaces differ: compared with {first}, {'; '.join(parts)}."


def _key(study: RecordedStudy) -> str:
    return json.dumps([study.began.space, study.config["space"]], sort_keys=True, default=str)


def _chosen(study: RecordedStudy) -> str:
    """The option of the group ``space`` that Hydra noted down; empty where it did not."""
    folder = study.folder.parent if study.folder.name == "baseline" else study.folder
    path = folder / ".hydra" / "hydra.yaml"
    if not path.is_file():  # the study comes from a tracker, or was not run by the command
        return ""
    noted = OmegaConf.load(path)
    node = OmegaConf.select(noted, "hydra.runtime.choices")
    # Not resolved: a stranger's file could have the page show the environment.
    choices = OmegaConf.to_container(node) if OmegaConf.is_config(node) else {}
    return str(choices.get("space", "")) if isinstance(choices, dict) else ""


def _how(mine: RecordedStudy, theirs: RecordedStudy) -> list[str]:
    """What a reader can say of the other space: decisions and options added or missing."""
    one, other = mine.began.space, theirs.began.space
    found = []
    if added := [kind for kind in other if kind not in one]:
        found.append(f"also decides {_named(added, 'kind')}")
    if missing := [kind for kind in one if kind not in other]:
        found.append(f"does not decide {_named(missing, 'kind')}")
    changes: dict[str, list[str]] = {}
    for kind in (kind for kind in one if kind in other and one[kind] != other[kind]):
        changes.setdefault(_options(one[kind], other[kind]), []).append(kind)
    found += [f"{change} in {_named(kinds, 'kind')}" for change, kinds in changes.items()]
    return found or [_fixed(mine.config["space"], theirs.config["space"])]


def _options(one: Sequence[Any], other: Sequence[Any]) -> str:
    added = [_text(option) for option in other if option not in one]
    missing = [_text(option) for option in one if option not in other]
    parts = [f"also has {_named(added, 'option')}"] if added else []
    parts += [f"has not {_named(missing, 'option')}"] if missing else []
    return " and ".join(parts) or "has another order of the options"


def _fixed(one: object, other: object) -> str:
    """How spaces of the same decisions differ."""
    mine, theirs = dict(_leaves(one, "")), dict(_leaves(other, ""))
    keys = [k for k in dict.fromkeys([*mine, *theirs]) if mine.get(k) != theirs.get(k)]
    parts = [
        f"{key} {theirs.get(key, 'nothing')} instead of {mine.get(key, 'nothing')}"
        for key in keys[:_MAX_NAMED]
    ]
    more = [f"{len(keys) - _MAX_NAMED} more"] if len(keys) > _MAX_NAMED else []
    return "has the same decisions, but " + ", ".join([*parts, *more])


def _leaves(node: object, key: str) -> Iterator[tuple[str, str]]:
    """Dotted keys and values of a space's configuration, lists by position."""
    inside: Mapping[Any, Any] = {}
    if isinstance(node, Mapping):
        inside = node
    elif isinstance(node, list | tuple):
        inside = dict(enumerate(node))
    for name, value in inside.items():
        yield from _leaves(value, f"{key}.{name}" if key else str(name))
    if not inside:
        yield key, _text(node)


def _named(texts: Sequence[str], noun: str) -> str:
    if len(texts) <= _MAX_NAMED:
        *before, last = texts
        return f"{', '.join(before)} and {last}" if before else last
    rest = len(texts) - _MAX_NAMED
    return f"{', '.join(texts[:_MAX_NAMED])} and {counted(rest, 'more ' + noun)}"


def _text(value: object) -> str:
    return clipped(value if isinstance(value, str) else json.dumps(value, default=str), 40)
