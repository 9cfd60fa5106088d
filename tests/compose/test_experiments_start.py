"""Experiments of papers start: a child of each is trained for a few steps, behind a supernet."""

import json
from pathlib import Path

import pytest

from nasrunner.core import child_folder
from nasrunner.recorded import read_study
from tests.data.conftest import cifar_root
from tests.retrain.conftest import run_study

__all__ = ["cifar_root"]  # a fixture

A_FEW_STEPS = (
    *("executor=serial", "tracker=none", "max_children=1", "baseline=none"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"),
)

OF_SUPERNETS = {
    "darts_cifar10": (
        "searcher.supernet={trainer.max_epochs: 1}",
        "searcher.order=first",
        "data.batch_size=4",
    )
}
"""What lets a supernet of an experiment take a few steps in seconds."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the checksum of:UserWarning")
@pytest.mark.parametrize(
    ("experiment", "cells"),
    [
        ("darts_cifar10", 8),
        ("enas_cifar10_micro", 8),
        ("enas_cifar10_macro", None),
        ("pnas_cifar10", 6),
    ],
)
def test_an_experiment_with_cells_starts(
    experiment: str,
    cells: int | None,
    cifar_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = f"data.root={cifar_root}"
    study = run_study(
        *(tmp_path, monkeypatch, f"experiment={experiment}", *A_FEW_STEPS, data, "data.cutout=16"),
        *OF_SUPERNETS.get(experiment, ()),
    )
    (child,) = (each for each in read_study(study).children if each.proposal.kind == "train")
    assert child.outcome is not None
    assert child.outcome.error is None
    assert child.outcome.reward is not None
    curves = child_folder(study, child.proposal.index) / "curves.jsonl"
    lines = curves.read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 2
    if cells is not None:
        stack = read_study(study).space.freeze(child.proposal.genotype).network.modules[0]
        assert stack.reduction_counts == (experiment == "pnas_cifar10")
        kinds = stack.times * stack.stages + (0 if stack.reduction_counts else stack.stages - 1)
        assert kinds == cells
