"""What of a stranger's study may be built: classes of known libraries, of the kind that is due."""

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from nasrunner.compose.signature import why_not_own
from nasrunner.compose.trackers import (
    shipped_places,
    shipped_trackers,
    trackers_in,
    usual_settings,
)
from nasrunner.core.errors import ConfigError
from nasrunner.core.search_space import CHILD_GROUPS


@dataclass(frozen=True)
class _Kind:
    """Classes that are defined in a package of a library, or below, and have a common base.

    Attributes:
        package: what the name of their module begins with.
        base: the dotted path of the base; None: every class there will do.
        way: what their dotted path begins with, where they are usually named by a shorter one.
    """

    package: str
    base: str | None = None
    way: str | None = None

    def has(self, target: str) -> bool:
        """Tells whether a dotted path names one of them; nothing outside of ``way`` is imported."""
        if not target.startswith(f"{self.way or self.package}."):
            return False
        try:
            found = get_object(target)
        except Exception:  # nothing can be built of it; who wants to says so
            return True
        is_there = f"{getattr(found, '__module__', '')}.".startswith(f"{self.package}.")
        if not isinstance(found, type) or not is_there:
            return False
        return self.base is None or issubclass(found, get_object(self.base))

    def __str__(self) -> str:
        what = "class" if self.base is None else self.base.rpartition(".")[2]
        return f"a {what} of {self.package}"


class _ShippedTracker(_Kind):
    """The classes that the shipped options of the group ``tracker`` name."""

    def has(self, target: str) -> bool:
        return target in shipped_trackers().values()

    def __str__(self) -> str:
        return "a class that an option shipped in conf/tracker names"


_SEARCHERS = (
    _Kind("nasrunner.searchers"),
    _Kind("optuna.samplers", "optuna.samplers.BaseSampler"),
)
_KINDS: Mapping[str, tuple[_Kind, ...]] = {
    "space": (
        _Kind("nasrunner.spaces", "nasrunner.core.space.Space"),
        _Kind("torch.nn", "torch.nn.Module"),
    ),
    "searcher": _SEARCHERS,
    "baseline": _SEARCHERS,
    "data": (_Kind("nasrunner.data", "pytorch_lightning.LightningDataModule"),),
    "task": (
        _Kind("nasrunner.children.tasks"),
        _Kind("torch.nn", "torch.nn.Module"),
        # Others of torchmetrics fetch models, whose weights are pickles.
        *(
            _Kind(f"torchmetrics.{each}", "torchmetrics.Metric", "torchmetrics")
            for each in ("aggregation", "classification", "regression", "text.perplexity")
        ),
    ),
    "optimizer": (_Kind("torch.optim", "torch.optim.Optimizer"),),
    "scheduler": (
        _Kind("torch.optim", "torch.optim.lr_scheduler.LRScheduler"),
        _Kind("nasrunner.children.settings.schedulers"),
    ),
    "trainer": (
        # Other classes of children open files.
        *(
            _Kind(f"nasrunner.children.{each}")
            for each in ("lightning", "proxies.zero_cost", "tables.cost", "tables.tabular")
        ),
        _Kind("pytorch_lightning.callbacks", "pytorch_lightning.Callback", "pytorch_lightning"),
        # Other loggers send what they are given to a server, with the user's credentials.
        _Kind("pytorch_lightning.loggers.csv_logs", way="pytorch_lightning.loggers"),
        _Kind("pytorch_lightning.loggers.tensorboard", way="pytorch_lightning.loggers"),
        _Kind("pytorch_lightning.strategies", "pytorch_lightning.strategies.Strategy"),
        _Kind("pytorch_lightning.plugins"),
        _Kind("lightning_fabric.plugins", way="pytorch_lightning.plugins"),
        _Kind("pytorch_lightning.profilers", "pytorch_lightning.profilers.Profiler"),
    ),
    # The others run lines of shell, or unpickle what another machine sends.
    "executor": (
        _Kind("nasrunner.executors.local"),
        _Kind("nasrunner.executors.serial"),
        _Kind("nasrunner.executors.simulated"),
    ),
    "tracker": (_ShippedTracker("nasrunner.trackers"),),
}
"""What a group's ``_target_`` may be in a study that is not the user's own."""

GROUPS = tuple(_KINDS)
"""What a study is built from."""

_SEARCHED = "space.hyperparameters."
_REFERENCE = re.compile(r"\$\{(" + "|".join(CHILD_GROUPS) + r")[\w.]*\}")
"""A hyperparameter may be what another key of the child's configuration is."""

_PLACES = {"default_root_dir", "dirpath", "root_dir", "save_dir"}
"""Arguments of Lightning's Trainer, callbacks and loggers that say where to write."""

_NAMES = {"filename", "name", "sub_dir", "version"}
"""Those that say what a file or folder in such a place is called."""

_NAME = re.compile(r"(?!\.+$)([\w .=+-]|\{\w+(:[\d.]*[defg])?\})+")
"""A name that leads to no other folder, whatever numbers are filled in."""

_PRELOADED = ("hydra", "nasrunner", "pytorch_lightning", "torch", "torchmetrics")
"""Packages whose modules may be imported for the children."""


def is_own(folder: Path) -> bool:
    """Tells whether this user began the study in a folder."""
    return why_not_own((folder / "config.yaml").read_text(encoding="utf-8")) is None


def check_trusted(
    config: Mapping[str, Any], folder: Path, builds: Collection[str], text: str
) -> None:
    """Refuses to build what might run code, from the folder of a study that is not this user's.

    Args:
        config: of the study, as it stands in ``config.yaml``.
        folder: the study's.
        builds: the groups that something will be built from.
        text: of ``config.yaml``, with the signature.

    Raises:
        ConfigError: names the key, what is legal there, and ``trust=true``.
    """
    stranger = why_not_own(text)
    if stranger is None:
        return
    for key, reason in _untrusted(config, builds):
        raise ConfigError(
            f"{folder} may be a stranger's study ({stranger}): {key} {reason}; trust=true "
            "(--trust) takes it all the same"
        )
    for link in links_out_of(folder):
        raise ConfigError(
            f"{folder} may be a stranger's study ({stranger}): {link} is a link that leads out of "
            "it, and files would be written there; trust=true (--trust) takes it all the same"
        )


def check_targets(
    config: Mapping[str, Any], groups: Collection[str], own: Mapping[str, Any]
) -> None:
    """Refuses what might run code in a file beside ``config.yaml``, which is not signed.

    Args:
        config: what the file says.
        groups: those that something will be built from.
        own: the study's configuration, whose classes are trusted already.

    Raises:
        ConfigError: names the key.
    """
    known = {target for group in GROUPS for _, target in _targets(own.get(group), group)}
    chosen = {group: config.get(group) for group in groups}
    for key, reason in (*_references(chosen), *_foreign(chosen, groups, known)):
        raise ConfigError(f"{key} {reason}, or what the study itself has there")


def links_out_of(folder: Path) -> Iterator[Path]:
    """Yields the symbolic links in a folder, and below, that lead out of it."""
    inside = folder.resolve()
    for place, folders, files in os.walk(inside):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                yield path


def _untrusted(config: Mapping[str, Any], builds: Collection[str]) -> Iterator[tuple[str, str]]:
    """(Key, what is wrong with it), of a stranger's configuration."""
    yield from _references(config)  # all of it is resolved, whatever is built
    yield from _foreign(config, builds, known=())
    yield from _nameless({group: config.get(group) for group in builds})
    if "trainer" in builds:
        yield from _places(config)
    if "executor" in builds:
        yield from _untrusted_modules(config.get("executor"))
    if "tracker" in builds:
        yield from _untrusted_trackers(config.get("tracker"))


def _references(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Interpolations: they read the environment, and may become a ``_target_``."""
    for key, value in _leaves(config, ""):
        known = _REFERENCE.sub("", str(value)) if key.startswith(_SEARCHED) else str(value)
        if "${" in known or "${" in key:
            yield key, f"refers to something else, {value!r}; legal are plain values"


def _foreign(
    config: Mapping[str, Any], groups: Collection[str], known: Collection[object]
) -> Iterator[tuple[str, str]]:
    """Classes that are none of the kind that is due, nor known."""
    for group in groups:
        for key, target in _targets(config.get(group), group):
            kinds = _KINDS.get(_group_of(key), ())
            is_plain = "${" not in str(target)
            if target not in known and not (is_plain and any(k.has(str(target)) for k in kinds)):
                legal = ", ".join(map(str, kinds)) or "a plain value"
                yield key, f"names {target!r}, which could run any code; legal is {legal}"


def _nameless(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments without names, which are not looked at one by one."""
    for key, value in _leaves(config, ""):
        if "_args_" in key.split("."):
            yield key, f"gives {value!r} without an argument's name; legal are named arguments"


def _places(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where a trainer would write, but for the folder of each child; also what is searched."""
    for top in ("trainer", "space"):
        for key, value in _leaves(config.get(top), top):
            if _group_of(key) != "trainer" or value is None:
                continue
            arguments = set(key.split("."))
            if arguments & _PLACES:
                yield key, f"is a place to write to, {value!r}; legal is null"
            elif arguments & _NAMES and isinstance(value, str) and not _NAME.fullmatch(value):
                yield key, f"is the name of a file, {value!r}; legal are names without a folder"


def _targets(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Whatever stands under ``_target_``, also as one of several options, or by a dotted key."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            at = f"{key}.{name}"
            if str(name).rpartition(".")[2] == "_target_":
                yield from _leaves(value, at)
            else:
                yield from _targets(value, at)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _targets(value, f"{key}.{index}")


def _group_of(key: str) -> str:
    """The group that a key's value becomes part of; hyperparameters are keys of other groups."""
    return key.removeprefix(_SEARCHED).split(".")[0]


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    items: Any = ()
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    else:
        yield key, node
    for name, value in items:
        yield from _leaves(value, f"{key}.{name}".lstrip("."))


def _untrusted_modules(executor: Any) -> Iterator[tuple[str, str]]:
    modules = executor.get("preload") if isinstance(executor, Mapping) else None
    for module in modules if isinstance(modules, list) else ():
        if str(module).split(".")[0] not in _PRELOADED:
            legal = ", ".join(_PRELOADED)
            yield "executor.preload", f"imports {module!r}; legal are modules of {legal}"


def _untrusted_trackers(tracker: Any) -> Iterator[tuple[str, str]]:
    """A stranger's server, or account, would be sent the study with the user's credentials."""
    for option, places in shipped_places().items():
        usual = usual_settings(option)
        for (key, settings), name in itertools.product(trackers_in(tracker), places):
            given, own = settings.get(name), usual.get(name)
            if given not in (own, None):
                legal = f"{own}; tracker={option} tracker.{name}={given} makes it your own choice"
                yield f"{key}.{name}", f"is {given!r}; legal is {legal}"
