"""The configuration in a study's folder: written when it begins, read by whatever comes after."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.compose.config import REQUIRED, leaves
from nasrunner.compose.signature import signed, why_not_own
from nasrunner.compose.trust import GROUPS, check_trusted
from nasrunner.compose.upgrade import as_built, upgraded
from nasrunner.core.errors import ConfigError
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.machine.files import keep_file
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.screen.passwords import without_password, without_passwords
from nasrunner.core.search_space import CHILD_GROUPS
from nasrunner.study.ledger import Ledger

STUDY_GROUPS = (*CHILD_GROUPS, "searcher", "baseline", "executor", "tracker")
"""What a study is built from, beside its space."""

MAY_CHANGE = (
    "max_children",
    "max_epochs_total",
    "max_hours",
    "target_reward",
    "max_failures",
    "max_fruitless",
    "keep_weights",
    "pack_children_above",
    "executor",
    "tracker",
    "baseline",
)
"""What a resumed study may change; everything else is part of what its ledger was written for."""

_OF_THE_COMMAND = ("resume", "trust")
"""What says how a command takes a study, and is no part of it; earlier studies lack the second."""


def save_config(config: dict[str, Any], folder: Path) -> None:
    """Writes the resolved configuration that a resumed study reads: all of it or nothing new.

    Passwords are left out, also of what Hydra wrote; a resumed study finds them in its environment.
    It is signed, by which a later command knows that no stranger wrote it.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(without_passwords(config)))
    keep_file(folder / "config.yaml", signed(text))


def sign_multirun(folder: Path) -> None:
    """Signs what Hydra has noted down of a multirun, which ``resume=`` reads; without passwords.

    Only its own studies call this while it runs: whoever resumes one of a stranger's multirun does
    not take over the others.
    """
    path = folder / "multirun.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text and why_not_own(text) is not None:
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")  # several studies
        keep_file(unfinished, signed(without_password(text)))
        os.replace(unfinished, path)


def saved_config(
    folder: Path, *, builds: Collection[str] = GROUPS, trust: bool = False
) -> dict[str, Any]:
    """Returns the configuration of the study in ``folder``; see ``upgraded`` before something is
    built.

    Args:
        folder: the study's.
        builds: the groups that something will be built from.
        trust: whether a stranger's study is taken with all that its configuration names.

    Raises:
        ConfigError: there is no study, its configuration is damaged, or it may be a stranger's and
            could run code.
    """
    path = folder / "config.yaml"
    if not path.is_file() or not (folder / "ledger.jsonl").is_file():
        raise ConfigError(
            f"resume={folder} is no study's folder: it needs config.yaml and ledger.jsonl"
        )
    saved, text = plain_config(path)
    is_own = trust or why_not_own(text) is None
    if is_own:
        find_user_modules(saved, lambda: [Path.cwd(), *started_in(folder)])
    else:  # what it may name lies in no folder; other files there would be imported, too
        check_trusted(saved, folder, builds, text)
    return as_built(saved, may_import=is_own)


def plain_config(path: Path) -> tuple[dict[str, Any], str]:
    """Returns what a study's ``config.yaml`` says, of which nothing is built or resolved, and its
    text.

    Raises:
        ConfigError: it is damaged.
    """
    content = path.read_bytes()
    try:
        return _read_config(content), content.decode()
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged: {error}. Put back a copy of the file: trackers may keep one with "
            "the study"
        ) from error


def _read_config(content: bytes) -> dict[str, Any]:
    """The configuration in a study's file.

    Raises:
        ValueError: it is not what ``save_config`` writes.
    """
    if not content.strip():
        raise ValueError("it is empty")
    try:
        found = OmegaConf.to_container(OmegaConf.create(content.decode()))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is no text in UTF-8") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        problem = getattr(error, "problem", None) or getattr(error, "reason", None)
        raise ValueError(f"{where}{problem or error}") from error
    except OmegaConfBaseException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    num_lines = content.count(b"\n") + 1
    if not isinstance(found, dict):
        raise ValueError("it holds no keys")
    if not content.endswith(b"\n"):
        raise ValueError(f"line {num_lines}, its last one, is cut off")
    empty = {key for key in REQUIRED if found.get(key) is None}
    empty -= {"scheduler"} & found.keys()  # the only one that may be null
    if missing := [key for key in REQUIRED if key in empty]:
        raise ValueError(f"it ends in line {num_lines - 1} without {', '.join(missing)}")
    return {str(key): with_present_targets(value) for key, value in found.items()}


def differences(
    saved: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """Returns what tells a study from one that is recorded, but for what may change between
    sessions.

    Args:
        saved: the recorded study's configuration.
        config: the other's.

    Returns:
        Key -> the value of the recorded study, and of the other; None for a key that it lacks.
    """
    before, now = (
        {
            key: value
            for key, value in leaves(each)
            if key.partition(".")[0] not in (*MAY_CHANGE, *_OF_THE_COMMAND)
        }
        for each in (upgraded(saved, STUDY_GROUPS), with_present_targets(config))
    )
    return {
        key: (before.get(key), now.get(key))
        for key in dict.fromkeys([*now, *before])
        if repr(before.get(key)) != repr(now.get(key))  # nan is nan
    }


def named_differences(found: Mapping[str, tuple[object, object]]) -> str:
    """Returns ``seed (3 there, 4 here)``, of the first few; empty where there are none."""
    named = [f"{key} ({there} there, {here} here)" for key, (there, here) in found.items()]
    more = [f"{len(named) - 3} more keys"] if len(named) > 3 else []
    return ", ".join([*named[:3], *more])


def check_same_study(ledger: Ledger, config: Mapping[str, Any], folder: Path) -> None:
    """Refuses to write the children of one study into the ledger of another.

    Raises:
        ConfigError: names what differs.
    """
    if not ledger.events:
        return
    if found := differences(saved_config(folder, builds=(), trust=True), config):
        raise ConfigError(
            f"{folder} holds another study: they differ in {named_differences(found)}; nothing was "
            "changed"
        )


def started_in(folder: Path) -> Iterator[Path]:
    """Yields where a study was started, which Hydra noted down; nothing where it did not."""
    for place in (folder, folder.parent):  # a baseline lies in its study's folder
        noted = place / ".hydra" / "hydra.yaml"
        if noted.is_file():
            yield Path(str(OmegaConf.select(OmegaConf.load(noted), "hydra.runtime.cwd")))
