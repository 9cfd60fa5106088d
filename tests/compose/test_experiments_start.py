"""Experiments of papers start: a child of each is trained for a few steps, behind a supernet."""

import json
from pathlib import Path

import pytest

from nasrunner.recorded import read_study
from tests.data.conftest import cifar_root
from tests.retrain.conftest import run_study

__all__ = ["cifar_root"]  # a fixture

A_FEW_STEPS = (
    *("executor=serial", "tracker=none", "max_children=1", "baseline=none"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"),
    *("data.batch_size=4", "data.eval_batch_size=4", "trainer.shared_batch_norm=2"),
)
FEW_LESSONS = (
    "searcher.controller_steps=1",
    "searcher.controller_batch=2",
    "searcher.num_estimates=2",
)

FIRST_ORDER = ("searcher.supernet={trainer.max_epochs: 1}", "searcher.order=first")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the checksum of:UserWarning")
@pytest.mark.parametrize(
    ("experiment", "cells", "few"),
    [
        ("darts_cifar10", 8, FIRST_ORDER),
        ("enas_cifar10_micro", 8, FEW_LESSONS),
        ("enas_cifar10_macro", None, FEW_LESSONS),
        ("pnas_cifar10", 6, ()),
    ],
)
def test_an_experiment_with_cells_starts(
    experiment: str,
    cells: int | None,
    few: tuple[str, ...],
    cifar_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = f"data.root={cifar_root}"
    study = run_study(
        *(tmp_path, monkeypatch, f"experiment={experiment}", *A_FEW_STEPS, *few, data),
        "data.cutout=16",
    )
    kinds = {child.proposal.kind for child in read_study(study).children}
    assert ("supernet" in kinds) == (experiment != "pnas_cifar10")
    assert ("estimate" in kinds) == experiment.startswith("enas")
    (child,) = read_study(study).trainings
    assert child.outcome is not None
    assert child.outcome.error is None
    assert child.outcome.reward is not None
    lines = (child.folder / "curves.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2
    if cells is not None:
        stack = read_study(study).space.freeze(child.proposal.genotype).network.modules[0]
        assert stack.reduction_counts == (experiment == "pnas_cifar10")
        reductions = 0 if stack.reduction_counts else stack.stages - 1
        assert stack.times * stack.stages + reductions == cells
