"""Where a study that is retrained comes from."""

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nasrunner.compose.changes import exchanged_groups, parse_overrides
from nasrunner.compose.trackers import records_at
from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.commands import resume_command
from nasrunner.core.screen.text import printable
from nasrunner.core.search_space import CHILD_GROUPS
from nasrunner.recorded import EmptyStudyError, RecordedStudy, read_study, study_folders
from nasrunner.rescoring.scoring import rescored
from nasrunner.retrain.request import GROUPS, RetrainRequest
from nasrunner.retrain.training.other_data import SameDataError
from nasrunner.retrain.training.rebuilt import rebuilt
from nasrunner.tracker_addresses import OUTPUTS, folder_at, usual_reader

FETCHED = OUTPUTS / "retrained"
"""Where a study goes that only a tracker has."""


def is_sweep(place: Path) -> bool:
    """Tells whether a folder is that of a multirun, or holds such."""
    if (place / "ledger.jsonl").is_file() or not place.is_dir():
        return False
    return (place / "multirun.yaml").is_file() or any(place.glob("*/multirun.yaml"))


def sweep_of(
    request: RetrainRequest, warn: Callable[[str], object]
) -> list[tuple[RecordedStudy, RetrainRequest]]:
    """Returns the studies in a multirun's folder that have ended with a reward, and a request for
    each.

    Args:
        request: whose source the folder is.
        warn: is told of studies that are left out; the best child of one that has not ended may
            change, and the test set would be used for several.

    Raises:
        ConfigError: all their networks would go to one folder, or there is none to retrain.
    """
    if request.folder is not None:
        raise ConfigError("folder= is for one study: those of a sweep have a folder each")
    found = []
    for folder in study_folders([Path(request.source)]):
        of_study = replace(request, source=str(folder))
        try:
            study = study_of(of_study)
        except EmptyStudyError as error:
            warn(f"left out: {error}")
            continue
        except SameDataError as error:
            warn(f"left out: {folder}: {error}")
            continue
        if study.reason is None:
            warn(f"left out: {folder} has not ended; {resume_command(folder)} goes on with it")
        elif not study.best(1):
            warn(f"left out: {folder} has no child with a reward to retrain")
        else:
            found.append((study, of_study))
    if not found:
        raise ConfigError(
            f"{request.source} holds no study that has ended with a reward and can be retrained so"
        )
    return found


def study_of(request: RetrainRequest) -> RecordedStudy:
    """Returns the study in a folder, or at an address of a tracker, with the space as it is
    rebuilt.

    The folder of the latter is looked for in ``outputs``; a study that is not there is fetched
    from the tracker, into a folder of its own.

    Args:
        request: which study, and what of its configuration is exchanged.

    What own data say of themselves is printed.

    Raises:
        NasRunnerError: there is no study, its ledger is empty or damaged, it may be a stranger's
            and could run code, the tracker is away, or it cannot be rebuilt so.
    """
    exchanged = exchanged_groups(parse_overrides(request.overrides)[0])
    builds = [group for group in (*CHILD_GROUPS, "space", *GROUPS) if group not in exchanged]
    rescoring = request.rescoring
    rescore = None if rescoring is None else functools.partial(rescored, rescoring=rescoring)
    study = read_study(_folder_of(request), builds=builds, trust=request.trust, rescore=rescore)
    return rebuilt(study, request.overrides, lambda told: sys.stdout.write(f"{printable(told)}\n"))


def _folder_of(request: RetrainRequest) -> Path:
    tracked = records_at(request.source)
    if tracked is None:
        return Path(request.source)
    option, records = tracked
    if (folder := folder_at(records, request.source)) is not None:
        return folder
    reader = usual_reader(option, request.tracking_uri)
    return reader.fetch(reader.study(request.source), FETCHED)
