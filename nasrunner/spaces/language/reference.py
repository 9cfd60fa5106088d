"""What each module of the language is and takes, as its class says it."""

import dataclasses
import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.core.annotations import readable
from nasrunner.core.space import Space


@dataclass(frozen=True)
class ModuleArgument:
    """An argument of a module.

    Attributes:
        name: its key.
        kind: what is legal, in words.
        default: as YAML; empty: it must be given; ``none``: nothing, or an empty one.
        text: what its class says of it, with names marked as in a docstring.
    """

    name: str
    kind: str
    default: str
    text: str


@dataclass(frozen=True)
class ModuleReference:
    """What a module is and takes.

    Attributes:
        name: in the language.
        summary: the first paragraph of its class's docstring.
        differs: in what it differs from its source; empty where nothing is said.
        arguments: in their order.
    """

    name: str
    summary: str
    differs: str
    arguments: tuple[ModuleArgument, ...]


def reference_of(module: type[Space]) -> ModuleReference:
    """Returns what a module of the language is and takes."""
    doc = inspect.getdoc(module) or ""
    summary, _, rest = doc.partition("\n\n")
    differs = re.search(r"^Differs from [^:]+: .*(?:\n.+)*", doc, re.MULTILINE)
    texts, hints = _texts(rest), typing.get_type_hints(module, include_extras=True)
    arguments = [
        ModuleArgument(each.name, _kind(hints[each.name]), _default(each), texts.get(each.name, ""))
        for each in dataclasses.fields(module)
        if each.init and each.name != "path"
    ]
    told = " ".join(differs[0].split()) if differs else ""
    return ModuleReference(module.name(), " ".join(summary.split()), told, tuple(arguments))


def _kind(annotation: Any) -> str:
    text = re.sub(r"\b(Space|SearchSpace|NoneSpace)\b", "module", readable(annotation))
    return re.sub(r"\bAny\b", "anything", text)


def _default(argument: Any) -> str:
    if argument.default is dataclasses.MISSING:
        return "" if argument.default_factory is dataclasses.MISSING else "none"
    if isinstance(argument.default, Space):
        return "none"
    return str(yaml.safe_dump(argument.default, default_flow_style=True).split("\n")[0])


def _texts(docstring: str) -> dict[str, str]:
    """What the rest of a docstring says of each argument."""
    found = re.search(r"^(?:Args|Attributes):\n((?:[ ]{4}.*\n?|\n)+)", docstring, re.MULTILINE)
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in (found[1] if found else "").splitlines():
        if begins := re.match(r"[ ]{4}([\w, ]+): (.*)", line):
            names = begins[1].split(", ")
            texts |= dict.fromkeys(names, begins[2])
        elif line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts
