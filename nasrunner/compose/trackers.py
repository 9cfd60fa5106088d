"""What can be asked of configured trackers before one is built: their classes say it."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from nasrunner.compose.config import config_dir
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.tracking import Records


def trackers_in(tracker: Any, key: str = "tracker") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the key and the settings of a configured tracker, and of those that are among its
    settings.

    Args:
        tracker: the configuration of one, resolved.
        key: where it stands.
    """
    if isinstance(tracker, Mapping) and "_target_" in tracker:
        yield key, tracker
    inside = tracker.items() if isinstance(tracker, Mapping) else ()
    for name, value in enumerate(tracker) if isinstance(tracker, list) else inside:
        yield from trackers_in(value, f"{key}.{name}")


def records_of(settings: Mapping[str, Any], *, may_import: bool = True) -> Records | None:
    """Returns what can be asked of a tracker's class; None where it offers nothing.

    Args:
        settings: the tracker's.
        may_import: whether classes that are not shipped are imported, which runs their code.
    """
    if not may_import and settings.get("_target_") not in shipped_trackers().values():
        return None
    found: Records | None = getattr(_class_of(settings), "records", None)
    return found


def files_of(tracker: Any) -> list[str]:
    """Returns what configured trackers write in a study's folder."""
    found = [getattr(_class_of(each), "files", ()) for _, each in trackers_in(tracker)]
    return [name for names in found for name in names]


def anchored(tracker: Any, folder: Path) -> Any:
    """Returns a tracker's configuration with its relative places as they are seen from a folder."""
    return _with_places(tracker, lambda records, settings: records.anchored(settings, folder))


def located(tracker: Any, folder: Path) -> Any:
    """Returns a tracker's configuration with its relative places as they were when a study ran.

    Args:
        tracker: the configuration of one, resolved.
        folder: the study's.
    """
    return _with_places(tracker, lambda records, settings: records.located(settings, folder))


def _with_places(
    tracker: Any, change: Callable[[Records, Mapping[str, Any]], dict[str, Any]]
) -> Any:
    if not isinstance(tracker, Mapping):
        return tracker
    inside = {name: _with_places(value, change) for name, value in tracker.items()}
    records = records_of(inside) if "_target_" in inside else None
    return inside if records is None else change(records, inside)


def check_jobs(config: DictConfig) -> None:
    """Refuses trackers that jobs on several nodes could not write.

    Args:
        config: a study's, of which nothing but the places of trackers is resolved.

    Raises:
        ConfigError: names the setting, and what is legal.
    """
    tracker = OmegaConf.select(config, "tracker")
    described = OmegaConf.to_container(tracker) if OmegaConf.is_dict(tracker) else None
    for key, settings in trackers_in(described):
        if (records := records_of(settings)) is not None:
            records.check_jobs(OmegaConf.select(config, f"{key}.{records.places[0]}"))


@functools.cache
def shipped_trackers() -> dict[str, str]:
    """Returns the options of the group ``tracker`` that are shipped, with their classes."""
    paths = sorted((config_dir() / "tracker").glob("*.yaml"))
    return {path.stem: str(OmegaConf.select(OmegaConf.load(path), "_target_")) for path in paths}


@functools.cache
def shipped_records() -> dict[str, Records]:
    """Returns the shipped options whose records can be read, with what reads them."""
    found = {name: records_of({"_target_": each}) for name, each in shipped_trackers().items()}
    return {name: records for name, records in found.items() if records is not None}


@functools.cache
def shipped_places() -> dict[str, Sequence[str]]:
    """Returns the shipped options whose settings say where they write, with those settings."""
    found = {name: _class_of({"_target_": each}) for name, each in shipped_trackers().items()}
    return {name: places for name, each in found.items() if (places := getattr(each, "places", ()))}


def option_of(settings: Mapping[str, Any]) -> str | None:
    """Returns the shipped option that a tracker's settings are of; None: its class is not ours."""
    target = with_present_targets({"_target_": settings["_target_"]})["_target_"]
    return next((name for name, each in shipped_trackers().items() if each == target), None)


def usual_settings(option: str) -> dict[str, Any]:
    """Returns the settings of a shipped option, resolved."""
    path = config_dir() / "tracker" / f"{option}.yaml"
    settings = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def records_at(address: str) -> tuple[str, Records] | None:
    """Returns the shipped option that has the study at an address, and what reads it; None: a
    folder.
    """
    for option, records in shipped_records().items():
        if address.startswith(records.scheme):
            return option, records
    return None


def _class_of(settings: Any) -> Any:
    """The class that settings are of; None where it cannot be imported, which its builder tells."""
    try:
        return get_object(with_present_targets({"_target_": settings["_target_"]})["_target_"])
    except Exception:
        return None
