"""Lineages of proposals, each of which goes on with the one before, and how they compare."""

import json
from pathlib import Path

import torch

from nasrunner.core import Outcome, Proposal, child_folder
from nasrunner.core.records import Source
from tests.children.blobs import make_trainer
from tests.toys import train_one

KEEP = ("trainer.checkpoint=all", "trainer.max_epochs=8")


def begun(trainer, index: int = 0, genotype=None, **fields) -> Proposal:
    """A proposal of the first architecture, or of this one."""
    genotype = trainer.space.walk(lambda decision: 0) if genotype is None else genotype
    return Proposal(index, genotype, seed=123, **fields)


def going_on(proposal: Proposal, *, genotype=None, **fields) -> Proposal:
    """The proposal after one, which goes on with it."""
    return Proposal(
        proposal.index + 1,
        genotype or proposal.genotype,
        seed=proposal.seed,
        sources=(Source(proposal.index, "training"),),
        **fields,
    )


def chain(trainer, untils, genotypes=None) -> list[Proposal]:
    """A lineage of proposals, paused after these epochs; None: trained to the end."""
    genotypes = genotypes or [None] * len(untils)
    proposals = [begun(trainer, genotype=genotypes[0], until=untils[0])]
    for until, genotype in zip(untils[1:], genotypes[1:], strict=True):
        proposals.append(going_on(proposals[-1], genotype=genotype, until=until))
    return proposals


def trained(folder: Path, *overrides, untils=(2, 5, None), genotypes=None, **arguments):
    """The outcomes of a lineage, trained one after the other."""
    trainer = make_trainer(*KEEP, *overrides, **arguments)
    task = trainer.task(folder, 0)
    return [train_one(task, each) for each in chain(trainer, untils, genotypes)]


def curves(folder: Path, index: int) -> list[dict]:
    lines = (child_folder(folder, index) / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


def checkpoint(folder: Path, index: int, name: str = "last.ckpt") -> dict:
    return torch.load(child_folder(folder, index) / name, weights_only=False)


def assert_equal(first, second, where: str = "") -> None:
    """Checks that two parts of checkpoints are equal to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert list(first) == list(second), where
        for key in first:
            assert_equal(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for place, pair in enumerate(zip(first, second, strict=True)):
            assert_equal(*pair, f"{where}.{place}")
    else:
        assert first == second, where


def assert_same(ended: Outcome, folder: Path, whole: Outcome, other: Path) -> None:
    """Checks that two children became the same: outcome, curves, weights, optimizer, callbacks."""
    assert (ended.error, ended.status) == (None, "completed")
    assert (ended.reward, ended.metrics, ended.curve) == (whole.reward, whole.metrics, whole.curve)
    places = (folder, ended.proposal.index), (other, whole.proposal.index)
    assert curves(*places[0]) == curves(*places[1])
    best = [checkpoint(*place, "best.ckpt") for place in places]
    assert_equal(best[0]["state_dict"], best[1]["state_dict"])
    parts = ("state_dict", "optimizer_states", "lr_schedulers")
    last = [{part: checkpoint(*place)[part] for part in parts} for place in places]
    assert_equal(*last)
    averages = [checkpoint(*place).get("averaging_state") for place in places]
    assert_equal(*averages)
