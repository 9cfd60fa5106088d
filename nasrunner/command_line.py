"""What the commands have in common: an error that a user can cause is one sentence."""

import contextlib
import importlib.metadata
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.core.errors import ConfigError, NasRunnerError, suggest
from nasrunner.core.language.leaves import written
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.stopping import ToldToStop, stopped_by_signals
from nasrunner.core.screen.terminal import show_what_can_be_shown
from nasrunner.core.screen.text import printable

OUR_ERRORS = (NasRunnerError, HydraException, OmegaConfBaseException, YAMLError)
"""What nasrunner raises, and the configuration libraries and a damaged config.yaml."""

_KINDS = {
    "Integer": "a whole number in digits alone",
    "Float": "a number without a unit",
    "Boolean": "true or false",
}
"""What OmegaConf calls a type, in words."""


def sentence(error: Exception, overrides: Sequence[str] | None = None) -> str:
    """Puts an error on one line; Hydra says what is wrong in its cause.

    Args:
        error: what a user caused.
        overrides: that were given; None: those of the command line.
    """
    given = sys.argv[1:] if overrides is None else overrides
    causes = [error, error.__cause__] if isinstance(error, HydraException) else [error]
    text = " ".join(" ".join(str(each) for each in causes if each is not None).split())
    called = re.search(r"Error parsing override '(\S+?)=.* Unknown function '(\w+)'", text)
    if called is not None and (form := written(called[2])):
        return f"{called[1]}: a decision {called[2]!r} is written {form}"
    if isinstance(error, HydraException) and (unread := _unread(given)):
        key, _, value = unread.partition("=")
        if value.startswith(("[", "{")):
            return f"{unread} cannot be read: legal are [value, …] and {{key: value, …}}"
        quoted = value.replace('"', "")
        return (
            f"{unread} cannot be read: a value of more than letters a to z, digits and "
            f"-_./:%+@?| stands in quotes of its own: '{key}=\"{quoted}\"'"
        )
    if found := re.search(r"full_key: (\S+)", text):
        key = found[1]
        typed = re.search(rf"override {re.escape(key)}=(.*?) (?:Value|Invalid)", text)
        if wrong := re.search(r"Value '(.*?)' of type '\w+' could not be converted to (\w+)", text):
            given = typed[1] if typed else wrong[1]
            return f"{key} must be {_KINDS.get(wrong[2], wrong[2])}, got {given}"
        if "is not Optional" in text:
            return f"{key} cannot be null"
        if wrong := re.search(r"\w+ is not a subclass of \w+Config\. value: (.*?) full_key", text):
            return f"{key} holds keys of its own, got {wrong[1]}"
    missing = re.search(
        r"Could not find '(\S+)/(\S+)' Available options in '\1': (.*?)( Config |$)", text
    )
    if missing is None:
        return text
    group, name, options, _ = missing.groups()
    return f"there is no {group}={name}, {suggest(name, options.split())}"


def _unread(arguments: Sequence[str]) -> str | None:
    """The first of a command's overrides that Hydra's grammar does not take."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    for argument in (each for each in arguments if "=" in each and not each.startswith("-")):
        try:
            parser.parse_override(argument)
        except HydraException:
            return argument
    return None


@contextlib.contextmanager
def one_sentence(
    program: str, when_stopped: str, explain: Callable[[Exception], str] = sentence
) -> Iterator[None]:
    """Ends the command with one sentence for every error that a user can cause.

    SIGTERM and SIGHUP end it, too; its exit code then says which. With a fault of the machine, a
    full disk for one, it is ``os.EX_TEMPFAIL``: the same command may succeed later.

    Args:
        program: the command's name.
        when_stopped: what to say after Ctrl-C, SIGTERM or SIGHUP.
        explain: puts an error into words.
    """
    show_what_can_be_shown()
    logging.raiseExceptions = False  # a full disk would be a traceback for each line of the log
    # It reports classes that it cannot find before we do, or before we look for them elsewhere.
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)
    try:
        with stopped_by_signals():
            yield
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        _drop_if_unread()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _drop_if_unread():
            sys.exit(128 + signal.SIGPIPE)
        if (told := in_words(error, explain)) is None:
            raise
        if machine_fault(error) is None:
            fail(program, told)
        fail(program, f"{told}; {_then(error, when_stopped)}", os.EX_TEMPFAIL)
    except ToldToStop as told:
        fail(program, f"{told}: {_then(told, when_stopped)}", 128 + told.signum)
    except KeyboardInterrupt as stopped:
        with contextlib.suppress(OSError):
            sys.stderr.write("\n")  # after the terminal's ^C
        fail(program, _then(stopped, when_stopped), 130)


def in_words(error: Exception, explain: Callable[[Exception], str] = sentence) -> str | None:
    """Returns what a user is told of an error; None: it is nobody's but ours, and its traceback
    tells.
    """
    if fault := machine_fault(error):
        return str(fault)
    if isinstance(error, OUR_ERRORS):
        return explain(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, RecursionError):
        return "the configuration is nested too deeply; 40 modules in one another are legal"
    return None


def _drop_if_unread() -> bool:
    """Whether nobody reads the output any more, as of ``| head``; the rest of it goes nowhere."""
    with contextlib.suppress(OSError, ValueError):  # no file, or closed
        number = sys.stdout.fileno()
        output = select.poll()
        output.register(number, 0)
        if any(event & select.POLLERR for _, event in output.poll(0)):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
            return True
    return False


def _then(error: BaseException, when_stopped: str) -> str:
    """What to do next: the note of whoever knows the study's folder, or what holds for any."""
    return str(getattr(error, "__notes__", [when_stopped])[-1])


def fail(program: str, message: str, code: int = 2) -> NoReturn:
    """Says what is wrong, where there still is a terminal, and ends."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{program}: {printable(' '.join(message.split()))}\n")
    sys.exit(code)


def check_folder(key: str, folder: Path | None) -> None:
    """Raises ConfigError where a file lies in the place of a folder that is to be written."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"{key}={folder} is a file; it must be a folder, or nothing yet")


def key_values(arguments: Sequence[str], keys: Collection[str]) -> dict[str, str]:
    """Returns the values of ``key=value`` arguments by key, without quotes around them.

    Args:
        arguments: of the command line.
        keys: legal ones.

    Raises:
        ConfigError: an argument is no ``key=value``, or its key is not legal or given twice.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, is_given, value = argument.partition("=")
        if not is_given or not value:
            raise ConfigError(f"arguments are written key=value, got {argument!r}; see --help")
        if key not in keys:
            raise ConfigError(f"there is no key {key!r}, {suggest(key, keys)}")
        if key in given:
            raise ConfigError(f"{key} is given twice: {given[key]} and {value}")
        given[key] = value.strip("'\"")
    return given


def truth(key: str, text: str) -> bool:
    """Returns what ``key=true`` or ``key=false`` says.

    Raises:
        ConfigError: it says neither.
    """
    if text.lower() not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, got {text!r}")
    return text.lower() == "true"


def is_answered(arguments: Sequence[str], text: str) -> bool:
    """Prints the version, or the text of ``--help``, where that is what was asked for.

    A command without arguments is asked for its help.
    """
    if "--version" in arguments:
        sys.stdout.write(f"{version()}\n")
    elif not arguments or {"-h", "--help"} & set(arguments):
        sys.stdout.write(text)
    else:
        return False
    return True


def version() -> str:
    """Returns our version, as ``--version`` shows it."""
    return f"nasrunner {importlib.metadata.version('nasrunner')}"
