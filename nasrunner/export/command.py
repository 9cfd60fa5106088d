"""The command ``nasrunner-export``: writes a trained network so that it stands alone."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasrunner.command_line import check_folder, is_answered, key_values, one_sentence, truth
from nasrunner.core.errors import ConfigError, NasRunnerError, suggest
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.screen.output import OutputFolder

HELP = """\
nasrunner-export: writes a trained network so that it can be used without nasrunner

  from=FOLDER    a child's folder, a retrained network's, or a study's, whose best child is taken;
                 or runs:/ID, the run in a tracker of a study below outputs/
  to=FOLDER      where the files go; else export/ in the network's folder
  format=py,onnx which files: py, onnx and pt2, with a comma between them; else py and onnx
  normalize=false  the graphs take inputs that are normalized already, as network.py does; else
                 inputs as they are in the data set
  overwrite=true also over files there that another made, or that were changed since
  study=FOLDER   the study it is a network of, where its folder does not lie in the study's
  trust=true     also of a stranger's study that names classes which could run any code

It writes, each checked against the network on random inputs:

  network.py           the network as plain PyTorch code, with load(weights)
  network.safetensors  its weights, under the names they have in network.py
  network.onnx         the same network for onnxruntime, for batches of any size, with what
                       normalizes its inputs; its metadata says what they and the outputs are
  network.pt2          likewise as a program of torch.export, which torch alone runs
  export.json          what it is, and how far the files' outputs are from the network's

A language model's graph reads one token of each text: its state, zeros before a text, goes in and
comes out. In network.py Streamed reads any number of tokens so.

Examples:

  nasrunner-export from=outputs/STUDY/TIME
  nasrunner-export from=outputs/STUDY/TIME/children/0007 to=digits
  nasrunner-export from=outputs/STUDY/TIME/retrained/0007-seed0
  nasrunner-export from=runs:/0123456789abcdef0123456789abcdef
"""

_PACKAGES = {"py": ("safetensors",), "onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}
"""What each format needs."""

_KEYS = ("from", "to", "format", "overwrite", "study", "normalize", "trust")


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        source: the network's folder, or ``runs:/<id>`` of a study.
        folder: where the files go; None: ``export`` in the network's folder.
        overwrite: whether files of others that lie there are replaced.
        study_folder: of the study it is a network of; None: the one it lies in.
        normalizes: whether the graphs take inputs as they are in the data set.
        trust: whether a stranger's study is taken with all that its configuration names.
        formats: of the files: ``py``, ``onnx``, ``pt2``.
    """

    source: str
    folder: Path | None
    overwrite: bool
    study_folder: Path | None
    normalizes: bool
    trust: bool = False
    formats: tuple[str, ...] = ("py", "onnx")


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    arguments = sys.argv[1:]
    if is_answered(arguments, HELP):
        return
    with one_sentence("nasrunner-export", "stopped"):
        _run(parse(arguments))


def parse(arguments: Sequence[str]) -> ExportRequest:
    """Returns the request that a command line of ``key=value`` makes.

    Raises:
        ConfigError: an argument is no ``key=value``, its key is not legal or given twice, or
            ``from`` is missing; or ``to`` is a file.
    """
    given = key_values(arguments, _KEYS)
    if "from" not in given:
        raise ConfigError("from= is missing: the folder of a network or of a study; see --help")
    folder, study = (Path(given[key]) if key in given else None for key in ("to", "study"))
    check_folder("to", folder)
    overwrite = truth("overwrite", given.get("overwrite", "false"))
    normalizes = truth("normalize", given.get("normalize", "true"))
    trust = truth("trust", given.get("trust", "false"))
    formats = _formats(given.get("format", "py,onnx"))
    return ExportRequest(given["from"], folder, overwrite, study, normalizes, trust, formats)


def _formats(text: str) -> tuple[str, ...]:
    found = dict.fromkeys(each.strip() for each in text.strip("[]").split(","))
    for each in found:
        if each not in _PACKAGES:
            raise ConfigError(
                f"format={text}: there is no format {each!r}, {suggest(each, _PACKAGES)}"
            )
    return tuple(each for each in _PACKAGES if each in found)


def _run(request: ExportRequest) -> None:
    needed = [name for each in request.formats for name in _PACKAGES[each]]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"{', '.join(missing)}: not installed; pip install 'nasrunner[export]' installs it"
        )
    with quick_imports():  # what they import takes seconds, which --help is spared
        from nasrunner.export.exporting import Export
        from nasrunner.export.trained import find, read_weights

    trained = find(request.source, request.study_folder, trust=request.trust)
    folder = request.folder or trained.folder / "export"
    check_folder("to", folder)
    output = OutputFolder(folder, "export", "to", overwrite=request.overwrite)
    weights = read_weights(trained)
    export = Export(trained, weights, output, request.normalizes, request.formats)
    export.run()
    for name, size in export.sizes().items():
        difference = export.differences.get(name)
        told = "" if difference is None else f", differs by {difference:.2g} at most"
        sys.stdout.write(f"{folder / name}  {size:,} bytes{told}\n")
    for note in export.notes:
        sys.stderr.write(f"nasrunner-export: {' '.join(note.split())}\n")
    if export.problems:
        raise NasRunnerError("; ".join(export.problems))
