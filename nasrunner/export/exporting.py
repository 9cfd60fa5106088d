"""Writes a trained network's files, and checks each against the network itself."""

import contextlib
import functools
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasrunner.children.inspecting import draw_up
from nasrunner.children.tasks.target_scale import TARGET_SCALE, TargetScale
from nasrunner.children.tasks.tasks import class_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import OUTCOME, TESTED
from nasrunner.core.ports import Blueprint
from nasrunner.core.screen.output import OutputFolder
from nasrunner.core.shapes import TokenShape, in_dtype_of
from nasrunner.core.space import living
from nasrunner.data.own.reading import Reading
from nasrunner.export.checks import BATCHES, by_steps, max_difference
from nasrunner.export.errors import ExportError
from nasrunner.export.normalization import UnknownNormalizationError, normalization_of
from nasrunner.export.onnx_file import Normalized, OnnxNetwork, write_onnx
from nasrunner.export.pt2_file import Pt2Network, write_pt2
from nasrunner.export.source.construction import Constructions
from nasrunner.export.source.standalone import InputNormalization, StandAlone, write
from nasrunner.export.streamed import Streamed
from nasrunner.export.target_units import in_target_units
from nasrunner.export.title import title_of
from nasrunner.export.trained import Trained, TrainedWeights
from nasrunner.spaces.recurrent.layers import WordVectors

CODE, WEIGHTS, FACTS = "network.py", "network.safetensors", "export.json"
ONNX, PT2 = "network.onnx", "network.pt2"
_FILES = {"py": (CODE, WEIGHTS), "onnx": (ONNX,), "pt2": (PT2,)}
"""What is written of each format."""

_PACKAGES = ("nasrunner", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")


@dataclass
class Export:
    """One export.

    What cannot be written does not keep the rest from being written.

    Args:
        trained: the network.
        weights: its weights; None: only its code is written.
        output: where the files go.
        normalizes: whether the graphs take inputs as they are in the data set.
        formats: those that are written: ``py``, ``onnx`` and ``pt2``.

    Raises:
        ConfigError: the network takes several inputs, or files of others lie in the place
            of these.

    Attributes:
        differences: file -> its largest difference from the network.
        parameters_dead: how many parameters only dead branches have.
        problems: why a file was not written.
        notes: what to know of the network, or is not known.
        vocabulary: tokens are below it; 1 of a network of numbers.
    """

    trained: Trained
    weights: TrainedWeights | None
    output: OutputFolder
    normalizes: bool = True
    formats: Collection[str] = ("py", "onnx")
    differences: dict[str, float] = field(default_factory=dict)
    parameters_dead: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    vocabulary: int = 1

    def __post_init__(self) -> None:
        in_shape = self.trained.config["data"]["in_shape"]
        if isinstance(in_shape, Mapping):
            raise ConfigError(
                f"data.in_shape has inputs by name ({', '.join(in_shape)}): such networks cannot "
                "be exported; legal are networks of one input without a name"
            )
        if self.trained.note:
            self.notes.append(self.trained.note)
        self.folder = self.output.folder
        self.output.check((*self._files, FACTS))

    def run(self) -> None:
        """Writes the files, all at once where all else is done.

        Raises:
            ConfigError: the weights are not those of this network.
        """
        trained = self.trained
        network, calls = trained.build(trained.frozen)
        if self.weights is not None:
            trained.load(network, self.weights)
        network.eval()
        if self.trained.is_of_tokens:
            self.vocabulary = self._vocabulary(network)
        alive, calls = self._without_dead(network, calls)
        self.parameters_dead = _num_parameters(network) - _num_parameters(alive)
        if self.parameters_dead:
            self.notes.append(
                f"{self.parameters_dead:,} of its {_num_parameters(network):,} parameters are of "
                "dead branches, which no path from its input to its output leads through: they "
                "are not in the files"
            )
        network = in_target_units(network, self._target_scale)
        alive = in_target_units(alive, self._target_scale, calls)
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
            self._difference("its living part", network, alive)
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
        code = None
        if "py" in self.formats:
            write_code = functools.partial(self._write_code, network, alive, calls, normalization)
            code = self._attempt(CODE, write_code)
        if self.weights is None:
            self.problems.append(self._without_weights())
        else:
            state = code.state(alive) if code is not None else dict(alive.state_dict())
            if "py" in self.formats:
                self._write_weights(state)
            named = alive if code is None else code.load(state).eval()
            for name, graph in (("onnx", OnnxGraph), ("pt2", Pt2Graph)):
                if name in self.formats:
                    write_graph = functools.partial(
                        self._write_graph, graph, network, named, normalization
                    )
                    self._attempt(_FILES[name][0], write_graph)
        facts = self._facts(alive, code, normalization)
        text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        (self.folder / FACTS).write_bytes(text.encode())

    def blueprint(self) -> Blueprint:
        """Returns the network's size and cost."""
        trained = self.trained
        in_dtype = in_dtype_of(trained.config["data"])
        size = draw_up(
            trained.frozen, {}, trained.in_shape, trained.out_shape, lambda _: "", in_dtype
        )
        return replace(size, values=trained.study.space.values(trained.proposal.genotype))

    def sizes(self) -> dict[str, int]:
        """Returns the files that were written, in bytes."""
        paths = [self.folder / name for name in self._files]
        return {path.name: path.stat().st_size for path in paths if path.is_file()}

    @property
    def _reading(self) -> Reading | None:
        return None if self.weights is None else self.weights.reading

    @property
    def _target_scale(self) -> TargetScale | None:
        return None if self.weights is None else self.weights.target_scale

    @property
    def _files(self) -> tuple[str, ...]:
        return tuple(name for format_ in self.formats for name in _FILES[format_])

    def _difference(
        self,
        what: str,
        network: Callable[[torch.Tensor], torch.Tensor],
        other: Callable[[torch.Tensor], torch.Tensor],
    ) -> float:
        shape = self.trained.shape
        if self.trained.is_streamed and shape[0] == 1:
            shape = TokenShape((2,))  # or no state would be handed on
        return max_difference(what, network, other, shape, self.vocabulary, self._unit)

    @property
    def _unit(self) -> float:
        """The least standard deviation of the targets that outputs are in the units of; else 1."""
        scale = self._target_scale
        return 1.0 if scale is None else min(scale.as_dict()["std"])

    def _vocabulary(self, network: nn.Module) -> int:
        """How many different tokens the network knows.

        Raises:
            ConfigError: nothing says it.
        """
        if self.trained.is_streamed:
            return int(self.trained.config["data"]["num_outputs"])
        if (reading := self._reading) is not None and "vocabulary" in reading.settings:
            return int(reading.settings["vocabulary"])
        known = [
            len(layer.weight)
            for layer in network.modules()
            if isinstance(layer, WordVectors | nn.Embedding)
        ]
        if not known:
            raise ConfigError(
                "data.in_dtype=int64: how many tokens the network knows is not known, so that no "
                "file could be compared with it; legal are networks with an embedding, or own data"
            )
        return min(known)

    def _attempt(self, name: str, write_file: Callable[[], Any]) -> Any:
        try:
            return write_file()
        except ExportError as error:
            (self.folder / name).unlink(missing_ok=True)
            self.problems.append(f"{name} was not written: {error}")
            return None

    def _normalization(self) -> InputNormalization | None:
        if self.trained.is_of_tokens:
            return None
        try:
            return normalization_of(self.trained, self._reading)
        except UnknownNormalizationError as error:
            self.notes.append(
                f"the normalization of the inputs is not known: {error}. The exported network "
                "takes inputs as they are in the batches of its data"
            )
            return None

    def _without_weights(self) -> str:
        trained, written = self.trained, f"only {CODE}" if "py" in self.formats else "nothing"
        return (
            f"{trained.without_weights}, so {written} was written; "
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
        is_streamed = self.trained.is_streamed
        title = title_of(
            self.trained, self.weights, self.blueprint(), normalization, self._classes()
        )
        code = write(
            alive,
            calls,
            self.trained.shape,
            title=title,
            normalization=normalization,
            is_streamed=is_streamed,
        )
        state = code.state(alive)
        self.differences[CODE] = self._difference(CODE, network, code.load(state).eval())
        if is_streamed:
            streamed: Any = code.load(state, is_streamed=True).eval()
            parts = by_steps(streamed, streamed.begin, max(1, self.trained.shape[0] // 2))
            apart = self._difference(f"{CODE}, read in parts,", network, parts)
            self.differences[CODE] = max(self.differences[CODE], apart)
        (self.folder / CODE).write_bytes(code.source.encode())
        return code

    def _write_weights(self, state: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save

        apart = {key: value.detach().contiguous().clone() for key, value in state.items()}
        (self.folder / WEIGHTS).write_bytes(save(apart, {"format": "pt"}))

    def _write_graph(
        self,
        graph: "type[OnnxGraph | Pt2Graph]",
        network: nn.Module,
        named: nn.Module,
        normalization: InputNormalization | None,
    ) -> None:
        """Writes a network as a graph, and compares what runs it with the network."""
        in_shape, name = self.trained.shape, graph.name
        path, metadata = self.folder / name, self._metadata(normalization)
        if self.trained.is_streamed:
            _check_layers(named)
            streamed = Streamed(named).eval()
            graph.write(streamed, in_shape, path, metadata)
            by_token = by_steps(graph.read(path).step, streamed.begin, 1)
            self.differences[name] = self._difference(f"{name}, read by tokens,", network, by_token)
            return
        if normalization is None or not self.normalizes:
            graph.write(named, in_shape, path, metadata)
            self.differences[name] = self._difference(name, network, graph.read(path))
            return
        normalized = functools.partial(
            Normalized,
            mean=normalization.mean,
            std=normalization.std,
            in_shape=in_shape,
            has_missing=bool(normalization.features),
        )
        graph.write(normalized(named).eval(), in_shape, path, metadata)
        whole, other = normalized(network).eval(), graph.read(path)
        self.differences[name] = self._difference(
            name, lambda z: whole(whole.raw(z)), lambda z: other(whole.raw(z))
        )

    def _metadata(self, normalization: InputNormalization | None) -> dict[str, str]:
        """What a graph says of itself, in JSON where it is more than a word."""
        config, blueprint = self.trained.config, self.blueprint()
        features = normalization.features if normalization else ()
        task = class_of(config["task"])
        if self.trained.is_of_tokens:
            inputs = f"tokens, int64, 0 to {self.vocabulary - 1}"
        elif normalization is None:
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
            "outputs": f"y: {'numbers' if task is None else task.outputs}{self._units()}",
            "in_shape": json.dumps(list(self.trained.shape)),
            "num_outputs": json.dumps(config["data"]["num_outputs"]),
            "mean": json.dumps(normalization and list(normalization.mean)),
            "std": json.dumps(normalization and list(normalization.std)),
        }
        if features:
            facts["features"] = json.dumps(features, ensure_ascii=False)
        if (reading := self._reading) is not None:
            facts["reading"] = reading.to_json()
        if self.trained.is_of_tokens:
            facts["vocabulary"] = json.dumps(self.vocabulary)
        if self.trained.is_streamed:
            facts["inputs"] += "; one of each text, (batch, 1)"
            facts["state"] = (
                "state_0, …: zeros before a text; then next_state_0, … of the token before"
            )
        if (classes := self._classes()) is not None:
            facts["classes"] = json.dumps(classes, ensure_ascii=False)
        return facts

    def _units(self) -> str:
        """What units its outputs are in, where it learnt targets in others."""
        return "" if self._target_scale is None else ", in the units of the targets"

    def _classes(self) -> list[str] | None:
        """The classes in the order of the outputs, by the names that its data have for them.

        None: it chooses none.
        """
        task = class_of(self.trained.config["task"])
        if task is None or not task.chooses_class:
            return None
        if (reading := self._reading) is not None and reading.classes is not None:
            return list(map(str, reading.classes))
        return list(map(str, range(int(self.trained.config["data"]["num_outputs"]))))

    def _facts(
        self, alive: nn.Module, code: StandAlone | None, normalization: InputNormalization | None
    ) -> dict[str, Any]:
        trained, blueprint, scale = self.trained, self.blueprint(), self._target_scale
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
            "in_shape": list(trained.shape),
            "num_outputs": trained.config["data"]["num_outputs"],
            "classes": self._classes(),
            "onnx_normalizes": self.normalizes and normalization is not None,
            "normalization": normalization
            and {
                "mean": list(normalization.mean),
                "std": list(normalization.std),
                **({"features": list(normalization.features)} if normalization.features else {}),
            },
            **({} if scale is None else {TARGET_SCALE: scale.as_dict()}),
            "files": self.sizes(),
            "max_absolute_difference": self.differences,
            "compared_on": {
                "inputs": "tokens" if trained.is_of_tokens else "standard normal",
                "batches": list(BATCHES),
            },
            "problems": self.problems,
            "notes": self.notes,
            "versions": dict(_versions()),
        }


class OnnxGraph:
    """The ONNX file, and what runs it."""

    name = ONNX
    write = staticmethod(write_onnx)
    read = OnnxNetwork


class Pt2Graph:
    """The program of torch.export, and what runs it."""

    name = PT2
    write = staticmethod(write_pt2)
    read = Pt2Network


def _check_layers(network: nn.Module) -> None:
    """Refuses a layer that keeps its state where nobody can give it another.

    Raises:
        ExportError: names its class.
    """
    for layer in network.modules():
        if hasattr(layer, "reset_state") and not hasattr(layer, "num_values"):
            raise ExportError(
                f"{type(layer).__name__} keeps a state between calls, but has no num_values, how "
                "many tensors (B, units) it is made of; legal are layers as StatefulLayer"
            )


def _num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of another format
            yield package, importlib.metadata.version(package)
