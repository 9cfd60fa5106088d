"""The command ``nasrunner-report``: a page about recorded studies, or about their comparison."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nasrunner.command_line import is_answered, one_sentence
from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.core.screen.text import printable
from nasrunner.recorded import RecordedStudy
from nasrunner.report.arguments import ReportArguments, help_text, parse
from nasrunner.report.comparison.baselines import find_baselines
from nasrunner.report.comparison.groups import check_comparable, groups, is_beside
from nasrunner.report.sources import log_page, read_folders, read_tracked
from nasrunner.report.watching import watch

_LOG_EVERY_S = 60.0  # a page that is written every few seconds goes to trackers less often


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    given = sys.argv[1:]
    if is_answered(given, help_text()):
        return
    with one_sentence("nasrunner-report", "stopped; a page that was there stands as it was"):
        _report(parse(given))


def _report(arguments: ReportArguments) -> None:
    if arguments.is_watching:
        _watch(arguments)
        return
    with tempfile.TemporaryDirectory() as fetched:
        if arguments.tracker is not None:
            studies = read_tracked(arguments, Path(fetched), _warn)
        else:
            studies = read_folders(arguments, _warn)
        if arguments.each and len(studies) > 1:
            _write_each(studies, arguments)
        files, about = _write(studies, arguments, refresh_s=None)
        _tell(str(files[0]))
        _tell_rescored(studies, _tell)
        _log(about, files, arguments, _tell, _warn)


def _watch(arguments: ReportArguments) -> None:
    logged_s = -_LOG_EVERY_S
    tell, warn = _once(_tell), _once(_warn)

    def write(studies: list[RecordedStudy], is_last: bool) -> None:
        nonlocal logged_s
        refresh_s = None if is_last else max(1, round(arguments.every_s))
        files, about = _write(studies, arguments, refresh_s)
        tell(f"{files[0]}\nwritten again until the studies have ended; Ctrl-C stops it")
        _tell_rescored(studies, tell)
        if is_last or time.monotonic() - logged_s >= _LOG_EVERY_S:
            logged_s = time.monotonic()
            _log(about, files, arguments, tell, warn)

    places = [Path(place) for place in arguments.places]
    watch(
        places,
        lambda: read_folders(arguments, lambda message: None),
        write,
        tell,
        arguments.every_s,
    )


def write_report(studies: Sequence[RecordedStudy], to: Path | None) -> Path:
    """Writes the page about studies, as the command does where nothing else is asked for.

    Args:
        studies: one, or several that are compared.
        to: the page's folder; None: the usual one.

    Returns:
        The page.

    Raises:
        ConfigError: the studies cannot be compared, or files of others lie in the folder.
    """
    arguments = parse([f"from={studies[0].folder}"])
    files, _ = _write(studies, replace(arguments, to=to), refresh_s=None)
    return files[0]


def _write(
    studies: Sequence[RecordedStudy], arguments: ReportArguments, refresh_s: int | None
) -> tuple[list[Path], list[RecordedStudy]]:
    """Writes the page.

    Returns:
        Its path, then those of its figures and tables; and the study it is about, or all of them.
    """
    # They import matplotlib: seconds that --help and a misspelt key save.
    from nasrunner.report.contents import contents
    from nasrunner.report.page.files import write_page

    check_comparable(studies)
    found = groups(studies, arguments.group)
    try:
        baselines = find_baselines(found, arguments.baseline)
    except ConfigError:
        if refresh_s is None:
            raise
        baselines = {}  # it may still begin
    folder = arguments.to or _usual_folder(studies, arguments)
    # What was fetched is gone when the command ends; beside a page in a tracker no folders lie.
    is_beside_files = arguments.tracker is None and not arguments.log
    page = contents(found, baselines, arguments.budgets, folder if is_beside_files else None)
    write_page(
        page.title,
        page.subtitle,
        page.sections,
        folder,
        refresh_s=refresh_s,
        overwrite=arguments.overwrite,
    )
    return page.files(folder), list(studies) if page.study is None else [page.study]


def _write_each(studies: Sequence[RecordedStudy], arguments: ReportArguments) -> None:
    """Writes a page of each study into its folder; of one with a baseline beside it, of both."""
    for study in studies:
        pair = [study, *(other for other in studies if is_beside(other, [study]))]
        _write(pair, replace(arguments, to=None, baseline=None), refresh_s=None)


def _tell_rescored(studies: Sequence[RecordedStudy], tell: Callable[[str], None]) -> None:
    for told in filter(None, dict.fromkeys(study.about_rescored for study in studies)):
        tell(told)


def _usual_folder(studies: Sequence[RecordedStudy], arguments: ReportArguments) -> Path:
    if arguments.tracker is not None:
        return Path("outputs", arguments.folder_name)
    return Path(os.path.commonpath([study.folder for study in studies])) / arguments.folder_name


def _log(
    studies: Sequence[RecordedStudy],
    files: Sequence[Path],
    arguments: ReportArguments,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Puts the page where people look at the study; a tracker being away is no reason to fail."""
    if not arguments.log:
        return
    for study in studies:
        try:
            logged = log_page(study, files, arguments)
        except NasRunnerError as error:
            warn(f"the page is written, but not logged: {error}")
            continue
        for where in logged:
            tell(f"logged to {where}")
        if not logged:
            warn(f"{study.folder} is in no tracker that takes a page: it is not logged")


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says the same thing only once."""
    said: set[str] = set()

    def say_once(message: str) -> None:
        if message not in said:
            said.add(message)
            say(message)

    return say_once


def _tell(message: str) -> None:
    sys.stdout.write(f"{printable(message)}\n")
    sys.stdout.flush()


def _warn(message: str) -> None:
    sys.stderr.write(f"nasrunner-report: warning: {printable(message)}\n")


if __name__ == "__main__":
    main()
