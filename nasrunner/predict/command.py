"""The command ``nasrunner-predict``: predicts new examples with a trained network."""

import contextlib
import gzip
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nasrunner.command_line import is_answered, key_values, one_sentence, truth
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.files import replace_file, unfinished
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.screen.text import printable

if TYPE_CHECKING:
    from nasrunner.predict.measuring import PredictionMetrics
    from nasrunner.predict.network import Inference
    from nasrunner.predict.prediction import Prediction
    from nasrunner.predict.tables import Unknown

HELP = """\
nasrunner-predict: predicts new examples with a trained network

  from=FOLDER    a child's folder, a retrained network's, or a study's, whose best child is taken;
                 or runs:/ID, the run in a tracker of a study below outputs/
  input=PATH     examples as they stood in the data of training: a table (.csv, .tsv or .txt, also
                 packed as .gz, .bz2 or .xz; .parquet or .pq), an image or a folder of some, a
                 file of arrays (.npz, .pt, .pth, .safetensors), or a folder of one split that
                 save_to_disk of datasets wrote
  output=FILE    where the predictions go, in the order of the examples: .csv or .csv.gz, a line
                 each, or .npz, the arrays prediction, names, and probabilities and files where
                 there are some
  unknown=ignore encode categories unseen in training as none of the known ones, and replace missing
                 numbers by the training mean; by default both are refused, but a column whose
                 rarer categories share a feature takes unseen ones as one of these
  batch_size=512 examples that are computed at once; it changes nothing but rounding
  overwrite=true overwrites an existing file
  study=FOLDER   the study it is a network of, where its folder does not lie in the study's
  trust=true     also of a stranger's study that names classes which could run any code

Inputs are prepared as those of training were: columns, categories and missing values, the size and
colours of images, normalization. A line has the prediction, a class by its name or a number in the
unit of the data, and p_CLASS, the probability of each class. Where the input has the targets, too,
the metrics of the task are printed; targets unknown to the network are left out and counted.
The network runs on the CPU.

Examples:

  nasrunner-predict from=outputs/STUDY/TIME input=new.csv output=predictions.csv
  nasrunner-predict from=outputs/STUDY/TIME/children/0007 input=photos output=predictions.csv
  nasrunner-predict from=outputs/STUDY/TIME/retrained/0007-seed0 input=x.npz output=y.npz
"""

_KEYS = ("from", "input", "output", "unknown", "batch_size", "overwrite", "study", "trust")
_FORMS = (".csv", ".csv.gz", ".npz")


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict.

    Attributes:
        source: the network's folder, or ``runs:/<id>`` of a study.
        input: the examples.
        output: where the predictions go.
        ignores_unknown: whether values that training never had are taken for none.
        batch_size: examples at once, >= 1.
        overwrite: whether a file that is there is replaced.
        study_folder: of the study it is a network of; None: the one it lies in.
        trust: whether a stranger's study is taken with all that its configuration names.
    """

    source: str
    input: Path
    output: Path
    ignores_unknown: bool = False
    batch_size: int = 512
    overwrite: bool = False
    study_folder: Path | None = None
    trust: bool = False


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    arguments = sys.argv[1:]
    if is_answered(arguments, HELP):
        return
    with one_sentence("nasrunner-predict", "stopped: nothing was written"):
        _run(parse(arguments))


def parse(arguments: Sequence[str]) -> PredictionRequest:
    """Returns the request that a command line of ``key=value`` makes.

    Raises:
        ConfigError: an argument is no ``key=value``, its key is not legal or given twice, one is
            missing, or the output is no legal file.
    """
    given = key_values(arguments, _KEYS)
    wanted = {
        "from": "the folder of a network or of a study",
        "input": "the examples to predict",
        "output": "the file of the predictions",
    }
    for key, meaning in wanted.items():
        if key not in given:
            raise ConfigError(f"{key}= is missing: {meaning}; see --help")
    overwrite = truth("overwrite", given.get("overwrite", "false"))
    unknown = given.get("unknown", "error")
    if unknown not in ("error", "ignore"):
        raise ConfigError(f"unknown must be error or ignore, got {unknown!r}")
    batch_size = given.get("batch_size", "512")
    if not batch_size.isdecimal() or int(batch_size) < 1:
        raise ConfigError(f"batch_size must be a whole number >= 1, got {batch_size!r}")
    return PredictionRequest(
        given["from"],
        Path(given["input"]),
        _checked_output(Path(given["output"]), overwrite=overwrite),
        unknown == "ignore",
        int(batch_size),
        overwrite,
        Path(given["study"]) if "study" in given else None,
        truth("trust", given.get("trust", "false")),
    )


def _checked_output(path: Path, *, overwrite: bool) -> Path:
    if not path.name.lower().endswith(_FORMS):
        raise ConfigError(f"output={path} must end in one of {', '.join(_FORMS)}")
    if not path.parent.is_dir():
        raise ConfigError(f"output={path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"output={path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise ConfigError(f"output={path} is there already; give another, or overwrite=true")
    return path


def _run(request: PredictionRequest) -> None:
    with quick_imports():  # what they import takes seconds, which --help is spared
        from nasrunner.export.trained import find, read_weights
        from nasrunner.predict.network import Inference

    if not request.input.exists():
        raise ConfigError(f"input={request.input}: there is no such file or folder")
    if request.output.exists() and request.output.samefile(request.input):
        raise ConfigError(f"output={request.output} is the input; give another file")
    trained = find(request.source, request.study_folder, trust=request.trust)
    if (weights := read_weights(trained)) is None:
        raise ConfigError(
            f"{trained.without_weights}; nasrunner-retrain from={trained.study.folder} trains its "
            "best networks again and keeps them"
        )
    unknown: Unknown = "ignore" if request.ignores_unknown else "error"
    inference = Inference.of(trained, weights, unknown, request.batch_size)
    if len(trained.out_shape) > 1 and request.output.suffix.lower() != ".npz":
        raise ConfigError(
            f"output={request.output}: an example has {trained.out_shape[1:]} predictions, which "
            "no line holds; legal is a file that ends in .npz"
        )
    metrics = inference.measuring()
    count = _write(request, inference, metrics)
    sys.stdout.write(f"{request.output}  {count:,} prediction{'' if count == 1 else 's'}\n")
    if values := metrics.values():
        of = "" if metrics.count == count else f" of {metrics.count:,} with known targets"
        told = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        sys.stdout.write(f"{told}{of}\n")
    for note in (*metrics.notes(), *([trained.note] if trained.note else [])):
        sys.stderr.write(f"nasrunner-predict: {printable(' '.join(note.split()))}\n")


def _write(request: PredictionRequest, inference: "Inference", metrics: "PredictionMetrics") -> int:
    """Writes all predictions or none; returns how many there are."""
    if request.output.suffix.lower() == ".npz":
        import numpy as np

        from nasrunner.predict.prediction import joined

        found = joined(list(inference.pieces(request.input, None, metrics)), {})
        arrays = found.arrays()
        replace_file(request.output, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]  # for allow_pickle, says its stub
        return len(found)
    count = 0
    path = unfinished(request.output)
    try:
        with _text_file(path, is_packed=request.output.suffix.lower() == ".gz") as file:
            for part in inference.pieces(request.input, None, metrics):
                _write_lines(part, file, has_header=count == 0)
                count += len(part)
        path.replace(request.output)
    finally:
        path.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _text_file(path: Path, *, is_packed: bool) -> Iterator[IO[str]]:
    if is_packed:
        with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
            yield file
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file


def _write_lines(part: "Prediction", file: IO[str], *, has_header: bool) -> None:
    table = part.frame()
    table.to_csv(file, index=False, header=has_header, float_format="%.9g", lineterminator="\n")
