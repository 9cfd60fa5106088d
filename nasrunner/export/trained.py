"""Finds a trained network and its weights, to be exported or to predict with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from torch import nn

from nasrunner.children.fit.batch_norm import batch_norms, set_epsilon
from nasrunner.children.fit.loading import load_data
from nasrunner.children.progress.allowed import load_checkpoint
from nasrunner.children.randomness import generators_kept
from nasrunner.children.settings.fidelity import thinned
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.tasks.target_scale import TARGET_SCALE, TargetScale
from nasrunner.children.tasks.tasks import class_of
from nasrunner.compose.construct import construct
from nasrunner.compose.signature import why_not_own
from nasrunner.compose.trackers import records_at
from nasrunner.compose.trust import check_targets, is_own
from nasrunner.core.errors import ConfigError
from nasrunner.core.machine.child_folder import BEST, CONFIG, LAST, PROPOSAL, ChildFolder
from nasrunner.core.records import Proposal
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.shapes import InShape, Shape, TokenShape, as_in_shape, dtypes_of, in_dtype_of
from nasrunner.core.tracking import Records
from nasrunner.data.own.reading import Reading
from nasrunner.export.source.construction import Constructions, build
from nasrunner.recorded import OTHER_DATA, RecordedStudy, is_grid, read_study, retrain_settings
from nasrunner.tracker_addresses import OUTPUTS, folder_at

_BUILT = ("space", "data", "task")
"""The groups of a configuration that are built, or asked: the network, what prepares its inputs,
and what its outputs are."""

_CHECKPOINTS = (BEST, LAST)

_WITHOUT_NETWORK = {"supernet": "a supernet", "estimate": "an estimate of a network"}
"""What proposals other than trainings are called, by their kind."""


@dataclass(frozen=True)
class Trained:
    """A network that was trained: a child of a study, or a retrained one.

    Attributes:
        folder: where its files lie.
        study: the study it comes from.
        proposal: its genotype, and the number of the child.
        config: what it was trained with: data, task, optimizer, scheduler and trainer. Of a child
            of several trainings it is that of training 0, whose weights it has.
        trusted: configurations whose packages may have objects in a checkpoint.
        note: what to know of it, in a sentence; mostly empty.
    """

    folder: Path
    study: RecordedStudy
    proposal: Proposal
    config: Mapping[str, Any]
    trusted: Mapping[str, Any]
    note: str = ""

    @property
    def frozen(self) -> SearchSpace:
        """Its architecture."""
        return thinned(self.study.space.freeze(self.proposal.genotype), self.proposal.fidelity)

    @property
    def in_shape(self) -> InShape:
        """Of one example; of several inputs by name, those of tokens as ``TokenShape``."""
        data = self.config["data"]
        in_shape = at_resolution(as_in_shape(data["in_shape"]), data)
        if not isinstance(in_shape, Mapping):
            return in_shape
        dtypes = dtypes_of(in_shape, in_dtype_of(data))
        return {n: TokenShape(s) if dtypes[n] == "int64" else s for n, s in in_shape.items()}

    @property
    def shape(self) -> Shape:
        """Of one example of the one input that there is."""
        assert isinstance(self.in_shape, tuple), "inputs by name are not exported"
        return TokenShape(self.in_shape) if self.is_of_tokens else self.in_shape

    @property
    def is_streamed(self) -> bool:
        """Whether it reads texts that go on from one batch to the next, as language models do."""
        task = class_of(self.config["task"])
        return task is not None and task.is_of_steps

    @property
    def is_of_tokens(self) -> bool:
        """Whether the one input is of tokens."""
        return bool(in_dtype_of(self.config["data"]) == "int64")

    @property
    def out_shape(self) -> Shape:
        """Of its output for one example."""
        with torch.device("meta"):
            _, out_shape = self.frozen.build(self.in_shape)
        return out_shape

    @property
    def name(self) -> str:
        """What its folder is called: ``0007`` is a child, ``0007-seed1`` was retrained."""
        return self.folder.name

    @property
    def kept_by(self) -> str:
        """The setting by which its weights were kept, or not."""
        written, kept = self.config["trainer"]["checkpoint"], self.study.config.get("keep_weights")
        is_child = self.folder.parent == self.study.folder / "children"
        if is_child and written != "none" and kept not in ("all", None):
            return f"keep_weights={kept}"
        return f"trainer.checkpoint={written}"

    @property
    def without_weights(self) -> str:
        """Says that its weights were not kept, and why."""
        return f"{self.folder} holds no weights ({self.kept_by})"

    @property
    def joins_validation(self) -> bool:
        """Whether it was retrained on the validation examples, too.

        Raises:
            ConfigError: the file that says so is damaged.
        """
        return self._retrained_with("on") == "train_and_validation"

    @property
    def other_data(self) -> str | None:
        """The option of the data set that it was rebuilt for; None: it is the one of the search.

        Raises:
            ConfigError: as of ``joins_validation``.
        """
        found = self._retrained_with(OTHER_DATA)
        return None if found is None else str(found)

    def _retrained_with(self, key: str) -> object:
        """A setting of the retraining that it comes from; None of a child, or without it."""
        path = self.folder.parent / "retrain.yaml"
        return retrain_settings(path).get(key) if path.is_file() else None

    def record(self, name: str) -> dict[str, Any]:
        """Returns a JSON file of its folder; empty where there is none, or a damaged one."""
        return ChildFolder(self.folder).read_record(name) or {}

    def load_data(self) -> Any:
        """Returns its data module, loaded as it was in training.

        The caller's global random generators stay as they are.

        Raises:
            ConfigError: the data module cannot join the validation examples to those of training.
            DataError: a file is missing or damaged.
        """
        data, seed = self.config["data"], self.study.seed
        with generators_kept():
            return load_data(data, None, seed, construct, joins_validation=self.joins_validation)

    def build(self, frozen: SearchSpace) -> tuple[nn.Module, Constructions]:
        """Returns a network as it was trained, with new weights, and what its layers were
        constructed with.

        Args:
            frozen: its architecture, or the living part of it.
        """
        network, calls = build(frozen, self.in_shape)
        epsilon = self.config["trainer"].get("batch_norm_epsilon")
        set_epsilon(network, epsilon)
        if epsilon is not None:
            for layer in batch_norms(network):
                calls.change(layer, "eps", epsilon)
        return network, calls

    def load(self, network: nn.Module, weights: "TrainedWeights") -> None:
        """Puts the weights into the network that they are of.

        Raises:
            ConfigError: they are another one's.
        """
        try:
            network.load_state_dict(weights.state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ConfigError(
                f"{self.folder / weights.file} does not hold the weights of this architecture; has "
                f"the study's space changed since? {reason}"
            ) from error

    def network(self, weights: "TrainedWeights") -> nn.Module:
        """Returns it with these weights, on the CPU and in evaluation mode.

        Raises:
            ConfigError: they are another one's.
        """
        network, _ = self.build(self.frozen)
        self.load(network, weights)
        return network.eval()


@dataclass(frozen=True)
class TrainedWeights:
    """What training made of a network.

    Attributes:
        file: the checkpoint's name.
        epoch: the epoch they are of, from 0.
        state: the network's state.
        reading: how more of its data are read; None: its data set has not said.
        target_scale: what its outputs are standardized with; None: they are not.
    """

    file: str
    epoch: int
    state: dict[str, torch.Tensor]
    reading: Reading | None = None
    target_scale: TargetScale | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What the numbers are; float32 where there are none."""
        found = [v.dtype for v in self.state.values() if v.is_floating_point()]
        return found[0] if found else torch.float32


def find(source: str, study_folder: Path | None, *, trust: bool = False) -> Trained:
    """Returns the network in a folder: a child's, a retrained one's, or the best child of a
    study's.

    Args:
        source: the folder, or a study's address in a tracker, as ``runs:/<id>``.
        study_folder: of the study whose space it is a network of; None: it lies in it.
        trust: whether a stranger's study is taken with all that its configuration names.

    Raises:
        ConfigError: no trained network lies there, or it may be a stranger's and could run code.
    """
    tracked = records_at(source)
    place = Path(source) if tracked is None else _folder_at(tracked[1], source)
    if not place.exists() and not ChildFolder(place).holds(PROPOSAL):
        raise ConfigError(f"from={place}: there is no such folder")
    place = place.resolve()
    if any(map(is_grid, place.parents)):
        raise ConfigError(
            f"from={place} is a point of a grid, whose weights are not kept: give the folder of a "
            "network that nasrunner-retrain has tested"
        )
    if (place / "ledger.jsonl").is_file():
        return _best_of(read_study(place, builds=_BUILT, trust=trust), trust)
    if (kind := _kind_in(place)) in _WITHOUT_NETWORK:
        raise ConfigError(
            f"from={place} is {_WITHOUT_NETWORK[kind]}, and no network that was trained for "
            "itself; legal: the folder of a child that was trained, or of the study"
        )
    if not ChildFolder(place).holds(PROPOSAL, CONFIG):
        raise ConfigError(
            f"from={place} is no folder of a study (ledger.jsonl, config.yaml), of a child or of "
            "a retrained network (proposal.json, config.yaml)"
        )
    around = study_folder or _study_around(place)
    return _network_in(place, read_study(around, builds=_BUILT, trust=trust), trust)


def checkpoint_in(folder: Path) -> Path | None:
    """Finds the file of a network's weights: of the best epoch, or else of the last; None: none
    were kept.
    """
    paths = (folder / name for name in _CHECKPOINTS)
    return next((path for path in paths if path.is_file()), None)


def read_weights(trained: Trained) -> TrainedWeights | None:
    """Returns the weights that were kept: of the best epoch, or else of the last; None without any.

    Raises:
        ConfigError: the file is damaged.
    """
    path = checkpoint_in(trained.folder)
    if path is None:
        return None
    try:
        kept = load_checkpoint(path, trained.trusted)
        state, epoch = kept["state_dict"], int(kept["epoch"])
        # What Lightning keeps of a data module has the name of the class that stands in for it.
        of_data = [each for each in kept.values() if isinstance(each, dict)]
        told = [r for each in (kept, *of_data) if isinstance(r := each.get("reading"), str)]
        reading = Reading.from_json(told[0]) if told else None
        scale = TargetScale.from_dict(kept[TARGET_SCALE]) if TARGET_SCALE in kept else None
    except Exception as error:  # damaged files raise nearly anything
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path} is no checkpoint of a child: {reason}") from error
    if path.name == LAST:  # Lightning's own: the network is part of what trains it
        state = {k.removeprefix("network."): v for k, v in state.items() if "network." in k}
        epoch -= 1  # it counts the epochs that have ended
    return TrainedWeights(path.name, epoch, state, reading, scale)


def _best_of(study: RecordedStudy, trust: bool) -> Trained:
    best = study.best(1)
    if not best:
        outcomes = study.state.history.outcomes
        if (one := next((each for each in outcomes if not each.is_trained), None)) is not None:
            raise ConfigError(
                f"from={study.folder}: no child of the study was trained, as they are too large "
                f"({one.error}); legal: the folder of a child that was"
            )
        raise ConfigError(f"from={study.folder}: no child of the study has a reward")
    (child,) = best
    assert child.outcome is not None
    if not child.outcome.is_trained:
        raise ConfigError(
            f"from={study.folder}: its best child, {child.proposal.index:04d}, was not trained, as "
            f"it is too large ({child.outcome.error}); legal: the folder of a child that was"
        )
    folder = child.folder
    if child.outcome.reused_from is not None:
        folder = folder.parent / f"{child.outcome.reused_from:04d}"
    if not ChildFolder(folder).holds(CONFIG):
        trainer = str(study.config["trainer"]["_target_"])
        sources = {"TabularTrainer": "a table", "ZeroCostTrainer": "a zero-cost proxy"}
        if source := sources.get(trainer.rpartition(".")[2]):
            raise ConfigError(
                f"from={study.folder}: no network of this study was trained, its rewards are from "
                f"{source}, so there is none"
            )
        raise ConfigError(
            f"from={study.folder}: the folder of its best child, {folder}, is not there"
        )
    return replace(_network_in(folder, study, trust), note=study.about_reach)


def _kind_in(folder: Path) -> str:
    """What a folder's proposal asked for; empty where there is none that can be read."""
    found = ChildFolder(folder)
    try:
        return found.proposal().kind if found.holds(PROPOSAL) else ""
    except ValueError:  # damaged, which is said later
        return ""


def _network_in(folder: Path, study: RecordedStudy, trust: bool) -> Trained:
    found = ChildFolder(folder)
    try:
        proposal = found.proposal()
        config = _read_config(found)
        if (first := found.training(0)).holds(CONFIG):  # whose fold its weights were trained on
            config["data"] = _read_config(first)["data"]
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"from={folder}: proposal.json or config.yaml is damaged: {reason}"
        ) from error
    if not trust:
        try:
            check_targets(config, _BUILT, {**study.config, **_own_settings(folder.parent)})
        except ConfigError as error:
            raise ConfigError(f"{found.file(CONFIG)}: {error}") from error
    trusted: dict[str, Any] = {"built": {group: config.get(group) for group in _BUILT}}
    if trust:
        trusted |= {"trained with": config}
    if trust or is_own(study.folder):  # else what is not built of it was not looked at
        trusted |= {"study": study.config}
    return Trained(folder, _as_rebuilt(study, folder.parent, trust), proposal, config, trusted)


def _as_rebuilt(study: RecordedStudy, folder: Path, trust: bool) -> RecordedStudy:
    """A study with the space that the networks in a folder were rebuilt in, if they were.

    Raises:
        ConfigError: what says so is damaged, or could run code of a stranger's.
    """
    path = folder / "retrain.yaml"
    changed = retrain_settings(path).get("space") if path.is_file() else None
    if changed is None:
        return study
    if not trust:
        try:
            own = {**study.config, **_own_settings(folder)}
            check_targets({"space": changed}, ("space",), own)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return replace(study, config={**study.config, "space": changed})


def _own_settings(folder: Path) -> dict[str, Any]:
    """How the networks in a folder were retrained, where this user has signed that; else nothing.

    Raises:
        ConfigError: the file is damaged.
    """
    path = folder / "retrain.yaml"
    if not path.is_file():
        return {}
    settings = retrain_settings(path)
    return settings if why_not_own(path.read_text(encoding="utf-8")) is None else {}


def _read_config(folder: ChildFolder) -> dict[str, Any]:
    """What a network was trained with.

    Raises:
        ValueError: the file does not hold all of it.
    """
    text = folder.text(CONFIG)
    config = yaml.safe_load(text)
    if not isinstance(config, dict) or not text.endswith("\n"):
        raise ValueError(f"{CONFIG} is {'cut off' if text else 'empty'}")
    if missing := [group for group in ("data", "task", "trainer") if group not in config]:
        raise ValueError(f"{CONFIG} lacks {', '.join(missing)}")
    return config


def _study_around(folder: Path) -> Path:
    """The study's folder that a child or a retrained network lies in."""
    for parent in folder.parents:
        if (parent / "ledger.jsonl").is_file() and (parent / "config.yaml").is_file():
            return parent
    raise ConfigError(
        f"from={folder}: the folders around it are none of a study's (ledger.jsonl, config.yaml); "
        "give study=FOLDER, the study whose space it is a network of"
    )


def _folder_at(records: Records, address: str) -> Path:
    if (folder := folder_at(records, address)) is not None:
        return folder
    raise ConfigError(
        f"from={address}: no study below {OUTPUTS.resolve()} is this run, and {records.name} "
        "keeps no weights; give the folder of the study, or of the child whose run it is"
    )
