"""Writes a trained network's files, and checks each against the network itself."""

import functools
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasrunner.children.inspecting import draw_up
from nasrunner.children.tasks.tasks import class_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import OUTCOME, TESTED
from nasrunner.core.ports import Blueprint
from nasrunner.core.screen.output import OutputFolder
from nasrunner.core.space import living
from nasrunner.export.checks import BATCHES, max_difference
from nasrunner.export.errors import ExportError
from nasrunner.export.normalization import UnknownNormalizationError, normalization_of
from nasrunner.export.onnx_file import Normalized, OnnxNetwork, write_onnx
from nasrunner.export.source.construction import Constructions
from nasrunner.export.source.standalone import InputNormalization, StandAlone, write
from nasrunner.export.title import title_of
from nasrunner.export.trained import Trained, TrainedWeights

CODE, WEIGHTS, ONNX, FACTS = "network.py", "network.safetensors", "network.onnx", "export.json"
_PACKAGES = ("nasrunner", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")


@dataclass
class Export:
    """One export.

    What cannot be written does not keep the rest from being written.

    Args:
        trained: the network.
        weights: its weights; None: only its code is written.
        output: where the files go.
        normalizes: whether the ONNX file takes inputs as they are in the data set.

    Raises:
        ConfigError: the network takes tokens or several inputs, or files of others lie in the place
            of these.

    Attributes:
        differences: file -> its largest difference from the network.
        parameters_dead: how many parameters only dead branches have.
        problems: why a file was not written.
        notes: what to know of the network, or is not known.
    """

    trained: Trained
    weights: TrainedWeights | None
    output: OutputFolder
    normalizes: bool = True
    differences: dict[str, float] = field(default_factory=dict)
    parameters_dead: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        in_shape = self.trained.config["data"]["in_shape"]
        if isinstance(in_shape, Mapping):
            raise ConfigError(
                f"data.in_shape has inputs by name ({', '.join(in_shape)}): such networks cannot "
                "be exported; legal are networks of one input without a name"
            )
        in_dtype = self.trained.config["data"].get("in_dtype")
        if in_dtype is not None:
            raise ConfigError(
                f"data.in_dtype={in_dtype}: networks of tokens cannot be exported; legal are "
                "networks of numbers"
            )
        if self.trained.note:
            self.notes.append(self.trained.note)
        self.folder = self.output.folder
        self.output.check((CODE, WEIGHTS, ONNX, FACTS))

    def run(self) -> None:
        """Writes the files, all at once where all else is done.

        Raises:
            ConfigError: the weights are not those of this network.
        """
        trained = self.trained
        network, calls = trained.build(trained.frozen)
        if self.weights is not None:
            _load(network, self.weights, trained)
        alive, calls = self._without_dead(network.eval(), calls)
        self.parameters_dead = _num_parameters(network) - _num_parameters(alive)
        if self.parameters_dead:
            self.notes.append(
                f"{self.parameters_dead:,} of its {_num_parameters(network):,} parameters are of "
                "dead branches, which no path from its input to its output leads through: they "
                "are not in the files"
            )
        with tempfile.TemporaryDirectory(prefix="nasrunner-export-") as folder:
            self.folder = Path(folder)
            self._write_files(network, alive, calls)
            self.output.write({path.name: path.read_bytes() for path in self.folder.iterdir()})
        self.folder = self.output.folder

    def _without_dead(
        self, network: nn.Module, calls: Constructions
    ) -> tuple[nn.Module, Constructions]:
        """The network without its dead branches, and what its layers were constructed with.

        Biases behind zeros are learned, and add constants: where they do, these branches are kept.
        """
        alive, others = self._alive(network, keeps_constants=False)
        if alive is network:
            return network, calls
        try:
            max_difference("its living part", network, alive, self.trained.in_shape)
        except ExportError:
            alive, others = self._alive(network, keeps_constants=True)
            self.notes.append(
                "branches behind zeros add constants, of biases that were learned: they are in "
                "the files, although no path from its input leads through them"
            )
        return alive, calls if alive is network else others

    def _alive(
        self, network: nn.Module, *, keeps_constants: bool
    ) -> tuple[nn.Module, Constructions]:
        """The living part of a network with its weights; itself where no part is dead."""
        frozen = self.trained.frozen
        shown = living(frozen, keeps_constants=keeps_constants)
        if shown is frozen:
            return network, Constructions()
        alive, calls = self.trained.build(shown)
        state = network.state_dict()
        alive.load_state_dict({key: state[key] for key in alive.state_dict()})
        return alive.eval(), calls

    def _write_files(self, network: nn.Module, alive: nn.Module, calls: Constructions) -> None:
        normalization = self._normalization()
        if close := normalization.too_close if normalization else ():
            self.notes.append(
                f"{', '.join(close)}: float32 cannot tell these numbers apart as they are in the "
                "table; normalize them in float64 and export with normalize=false"
            )
        code = self._attempt(CODE, lambda: self._write_code(network, alive, calls, normalization))
        if self.weights is not None:
            state = code.state(alive) if code is not None else dict(alive.state_dict())
            self._write_weights(state)
            named = alive if code is None else code.load(state).eval()
            self._attempt(ONNX, lambda: self._write_onnx(network, named, normalization))
        else:
            self.problems.append(self._without_weights())
        facts = self._facts(alive, code, normalization)
        text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        (self.folder / FACTS).write_bytes(text.encode())

    def blueprint(self) -> Blueprint:
        """Returns the network's size and cost."""
        trained = self.trained
        size = draw_up(trained.frozen, {}, trained.in_shape, trained.out_shape, lambda _: "")
        return replace(size, values=trained.study.space.values(trained.proposal.genotype))

    def sizes(self) -> dict[str, int]:
        """Returns the files that were written, in bytes."""
        paths = [self.folder / name for name in (CODE, WEIGHTS, ONNX)]
        return {path.name: path.stat().st_size for path in paths if path.is_file()}

    def _attempt(self, name: str, write_file: Callable[[], Any]) -> Any:
        try:
            return write_file()
        except ExportError as error:
            (self.folder / name).unlink(missing_ok=True)
            self.problems.append(f"{name} was not written: {error}")
            return None

    def _normalization(self) -> InputNormalization | None:
        try:
            return normalization_of(self.trained)
        except UnknownNormalizationError as error:
            self.notes.append(
                f"the normalization of the inputs is not known: {error}. The exported network "
                "takes inputs as they are in the batches of its data"
            )
            return None

    def _without_weights(self) -> str:
        trained = self.trained
        return (
            f"{trained.folder} holds no weights ({trained.kept_by}), so only {CODE} was written; "
            f"nasrunner-retrain from={trained.study.folder} trains its best networks "
            "again and keeps them"
        )

    def _write_code(
        self,
        network: nn.Module,
        alive: nn.Module,
        calls: Constructions,
        normalization: InputNormalization | None,
    ) -> StandAlone:
        in_shape = self.trained.in_shape
        title = title_of(self.trained, self.weights, self.blueprint(), normalization)
        code = write(alive, calls, in_shape, title=title, normalization=normalization)
        other = code.load(code.state(alive)).eval()
        self.differences[CODE] = max_difference(CODE, network, other, in_shape)
        (self.folder / CODE).write_bytes(code.source.encode())
        return code

    def _write_weights(self, state: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save

        apart = {key: value.detach().contiguous().clone() for key, value in state.items()}
        (self.folder / WEIGHTS).write_bytes(save(apart, {"format": "pt"}))

    def _write_onnx(
        self, network: nn.Module, named: nn.Module, normalization: InputNormalization | None
    ) -> None:
        path, in_shape = self.folder / ONNX, self.trained.in_shape
        metadata = self._metadata(normalization)
        if normalization is None or not self.normalizes:
            write_onnx(named, in_shape, path, metadata)
            self.differences[ONNX] = max_difference(ONNX, network, OnnxNetwork(path), in_shape)
            return
        normalized = functools.partial(
            Normalized,
            mean=normalization.mean,
            std=normalization.std,
            in_shape=in_shape,
            has_missing=bool(normalization.features),
        )
        write_onnx(normalized(named).eval(), in_shape, path, metadata)
        whole, other = normalized(network).eval(), OnnxNetwork(path)
        self.differences[ONNX] = max_difference(
            ONNX, lambda z: whole(whole.raw(z)), lambda z: other(whole.raw(z)), in_shape
        )

    def _metadata(self, normalization: InputNormalization | None) -> dict[str, str]:
        """What the ONNX file says of itself, in JSON where it is more than a word."""
        config, blueprint = self.trained.config, self.blueprint()
        features = normalization.features if normalization else ()
        task = class_of(config["task"])
        if normalization is None:
            inputs = "as in the batches of its data"
        elif self.normalizes:
            inputs = "as in the data set; the graph normalizes them"
        else:
            inputs = "normalized: (raw - mean) / std"
        if features:
            inputs = f"encoded features of a table, in the order of features, {inputs}"
            inputs += "; a number that is missing is " + ("NaN" if self.normalizes else "0")
        facts = {
            "architecture": blueprint.text,
            "data": str(config["data"]["_target_"]),
            "task": str(config["task"]["_target_"]).rpartition(".")[2],
            "inputs": f"x: {inputs}",
            "outputs": f"y: {'numbers' if task is None else task.outputs}",
            "in_shape": json.dumps(list(self.trained.in_shape)),
            "num_outputs": json.dumps(config["data"]["num_outputs"]),
            "mean": json.dumps(normalization and list(normalization.mean)),
            "std": json.dumps(normalization and list(normalization.std)),
        }
        if features:
            facts["features"] = json.dumps(features, ensure_ascii=False)
        if task is not None and task.chooses_class:
            facts["classes"] = json.dumps(self._classes())
        return facts

    def _classes(self) -> list[str]:
        """The classes in the order of the outputs: the targets that the data set has for them."""
        num_outputs = int(self.trained.config["data"]["num_outputs"])
        return list(map(str, range(num_outputs)))

    def _facts(
        self, alive: nn.Module, code: StandAlone | None, normalization: InputNormalization | None
    ) -> dict[str, Any]:
        trained, blueprint = self.trained, self.blueprint()
        left_out = [
            parameter.numel()
            for key, parameter in alive.named_parameters()
            if code is not None and code.name_of(key) is None
        ]
        return {
            "from": str(trained.folder),
            "study": trained.study.name,
            "child": trained.proposal.index,
            "hash": trained.proposal.hash,
            "architecture": blueprint.text,
            **({} if trained.other_data is None else {"other_data": trained.other_data}),
            "reward": trained.record(OUTCOME).get("reward"),
            "test": trained.record(TESTED).get("metrics"),
            "weights": self.weights
            and {
                "file": self.weights.file,
                "epoch": self.weights.epoch,
                "dtype": str(self.weights.dtype).removeprefix("torch."),
            },
            "parameters": blueprint.parameters,
            "parameters_dead": self.parameters_dead,
            "parameters_left_out": self.parameters_dead + sum(left_out),
            "flops": blueprint.flops,
            "in_shape": list(trained.in_shape),
            "num_outputs": trained.config["data"]["num_outputs"],
            "onnx_normalizes": self.normalizes and normalization is not None,
            "normalization": normalization
            and {
                "mean": list(normalization.mean),
                "std": list(normalization.std),
                **({"features": list(normalization.features)} if normalization.features else {}),
            },
            "files": self.sizes(),
            "max_absolute_difference": self.differences,
            "compared_on": {"inputs": "standard normal", "batches": list(BATCHES)},
            "problems": self.problems,
            "notes": self.notes,
            "versions": dict(_versions()),
        }


def _load(network: nn.Module, weights: TrainedWeights, trained: Trained) -> None:
    try:
        network.load_state_dict(weights.state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ConfigError(
            f"{trained.folder / weights.file} does not hold the weights of this architecture; has "
            f"the study's space changed since? {reason}"
        ) from error


def _num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        yield package, importlib.metadata.version(package)
