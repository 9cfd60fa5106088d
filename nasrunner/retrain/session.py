"""Retrains the best architectures of a study: from the request to its results."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nasrunner.children.lightning import LightningTask, LightningTrainer
from nasrunner.children.retraining import (
    REPETITION,
    MlpClassifierTask,
    RetrainRehearsal,
    RetrainTask,
)
from nasrunner.composition import construct
from nasrunner.core.errors import ConfigError
from nasrunner.core.ports import Executor
from nasrunner.core.records import Proposal
from nasrunner.launch import CHILD_GROUPS, build_trainer, graceful_stop
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.rehearsal import rehearse
from nasrunner.retrain.mlp import is_mlp
from nasrunner.retrain.networks import MLP_CLASSIFIER, Job, Network, Retraining
from nasrunner.retrain.place import Place
from nasrunner.retrain.request import Request, changed
from nasrunner.retrain.results import Results, row_of

_SKLEARN = "scikit-learn's MLPClassifier, its defaults but max_iter=2000"


@dataclass(frozen=True)
class Session:
    """One retraining of one study.

    Args:
        study: whose best architectures are trained.
        request: which, how many of each, and on what.

    Raises:
        ConfigError: the study cannot be retrained as asked; nothing was started or written.
    """

    study: RecordedStudy
    request: Request

    def __post_init__(self) -> None:
        _ = self.config, self.children, self.trainer

    @cached_property
    def config(self) -> dict[str, Any]:
        """The study's configuration with the changes that were asked for."""
        target = str(self.study.config["trainer"].get("_target_"))
        if target.rpartition(".")[2] == "TabularTrainer":
            raise ConfigError(
                f"{self.study.folder} searched a table: nothing was trained in it, so nothing can "
                "be retrained"
            )
        return changed(self.study.config, self.request.overrides, self.study.space)

    @cached_property
    def children(self) -> list[RecordedChild]:
        """The children whose architectures are trained, best first."""
        found = self.study.best(len(self.study.children))
        if not found:
            raise ConfigError(f"{self.study.folder} has no child with a reward to retrain")
        if self.request.top > len(found):
            raise ConfigError(
                f"top={self.request.top} is more than the {len(found)} different architectures "
                f"with a reward in {self.study.folder}"
            )
        return found[: self.request.top]

    @cached_property
    def trainer(self) -> LightningTrainer:
        """What trained the children."""
        trainer = build_trainer(self.config, self.study.space)
        if not isinstance(trainer, LightningTrainer):
            raise ConfigError(
                f"trainer: a study of {type(trainer).__name__} cannot be retrained; legal is "
                "LightningTrainer"
            )
        return trainer

    @property
    def folder(self) -> Path:
        """Where the networks go."""
        return self.request.folder or self.study.folder / "retrained"

    @property
    def task(self) -> RetrainTask:
        """What trains a network."""
        return RetrainTask(self._child_task(), self.request.on)

    def jobs(self) -> list[Job]:
        """Every network there shall be, the best architecture's first."""
        train, repetitions = self.task, range(self.request.seeds)
        jobs = [
            Job(f"{child.proposal.index:04d}", _repeated(child.proposal, repetition), train)
            for child in self.children
            for repetition in repetitions
        ]
        if self.has_mlp_classifier:
            fit = MlpClassifierTask(self._child_task(), self.request.on)
            nothing = Proposal(-1, {})
            jobs += [Job(MLP_CLASSIFIER, _repeated(nothing, each), fit) for each in repetitions]
        return jobs

    @property
    def has_mlp_classifier(self) -> bool:
        """Whether scikit-learn has a network of the same kind for the same task."""
        is_classification = self.config["task"]["_target_"].endswith("tasks.Classification")
        return (
            self.request.mlp_classifier and is_classification and is_mlp(self.study.space.network)
        )

    @property
    def metric(self) -> str:
        """The metric of the test that the search's reward is made of."""
        metric = str(self.config["task"]["reward"]["metric"])
        return metric.replace("val_", "test_", 1) if metric.startswith("val_") else "test_loss"

    def warnings(self) -> Iterator[str]:
        """What of the configuration has no effect, in sentences."""
        patience = self.config["trainer"]["stop_patience"]
        if self.request.on == "train_and_validation" and patience is not None:
            yield (
                f"trainer.stop_patience={patience} is left out: with on=train_and_validation no "
                "examples are left that say when to stop; on=train keeps them"
            )

    def run(self, began: Callable[[Retraining], None], told: Callable[[Network], None]) -> Results:
        """Trains and tests what is not done yet, and writes the results.

        Args:
            began: told what is to be done and what is done already.
            told: told of each network as it ends.

        Raises:
            ConfigError: the folder holds networks with other settings, or a network cannot be
                trained as configured; nothing was trained.
        """
        place = Place(self.folder)
        with place.locked():
            place.check(self._settings())
            retraining = Retraining(self.jobs(), self.folder, told)
            began(retraining)
            if retraining.missing:
                with contextlib.ExitStack() as stack:
                    executor: Executor = construct(self.config["executor"], "executor")
                    stack.callback(executor.close)
                    genotypes = [child.proposal.genotype for child in self.children]
                    rehearse(RetrainRehearsal(self.task, genotypes), executor, self.folder)
                    place.save(self._settings())
                    stack.enter_context(graceful_stop(retraining))
                    retraining.run(executor)
            results = self._results(retraining)
            results.write()
            return results

    def _child_task(self) -> LightningTask:
        return self.trainer.task(self.folder, self.study.seed)

    def _results(self, retraining: Retraining) -> Results:
        networks = list(retraining.networks.values())
        rows = []
        for child in self.children:
            name = f"{child.proposal.index:04d}"
            found = [each for each in networks if each.job.name == name]
            blueprint = self.trainer.inspect(child.proposal.genotype)
            reward = child.outcome.reward if child.outcome is not None else None
            rows.append(row_of(name, blueprint.text, blueprint.parameters, reward, found))
        if found := [each for each in networks if each.job.name == MLP_CLASSIFIER]:
            parameters = found[0].outcome.metrics.get("parameters")
            size = None if parameters is None else int(parameters)
            rows.append(row_of(MLP_CLASSIFIER, _SKLEARN, size, None, found))
        return Results(
            study=self.study.name,
            folder=self.folder,
            on=self.request.on,
            seed=self.study.seed,
            metric=self.metric,
            rows=rows,
            networks=networks,
            is_interrupted=retraining.stop_reason is not None,
        )

    def _settings(self) -> dict[str, Any]:
        groups = {group: self.config[group] for group in CHILD_GROUPS}
        return {"on": self.request.on, "seed": self.study.seed, **groups}


def _repeated(proposal: Proposal, repetition: int) -> Proposal:
    return Proposal(proposal.index, proposal.genotype, {**proposal.notes, REPETITION: repetition})
