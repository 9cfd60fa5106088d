"""The example in which a cell and how it is stacked are searched together."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from nasrunner.children.supernets.relaxed.report import mixture_size
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.command import main
from nasrunner.core import SearchSpace
from nasrunner.core.order import rollout
from nasrunner.recorded import read_study
from nasrunner.spaces.language.parsing import parse_space

CONF = Path(__file__).parents[2] / "examples" / "cells" / "conf"
STACK = "0/cell_stack"
IMAGE = (1, 8, 8)


def space_with(**fixed: Any) -> SearchSpace:
    text = (CONF / "space" / "stacked.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace('"${data.num_outputs}"', "10"))
    config["concat"][0]["cell_stack"] |= fixed
    return parse_space(config)


def test_cells_and_stacks_are_decided_each_once() -> None:
    stacks = 2 * 3 * 2
    assert space_with().size() == stacks * space_with(filters=8, times=1, stages=2).size()
    found = [space_with().walk(lambda d, take=take: take(d)) for take in (_first, _last)]
    cells = [space_with().freeze(each).network.modules[0].cells for each in found]
    # Two stages of one cell and three of three, with a reduction cell between each two of them.
    assert [len(each) for each in cells] == [3, 11]


def _first(decision: Any) -> int:
    return 0


def _last(decision: Any) -> int:
    """Both inputs of a block are different values, and the operations convolutions."""
    return len(decision.options) - 1


def test_networks_of_all_stacks_share_the_weights_of_the_largest() -> None:
    space, rng = space_with(), np.random.default_rng(0)
    shared = SharedWeights(space, IMAGE, device="meta")
    sizes = {shared.size_of(rollout(space, rng)) for _ in range(12)}
    assert len(sizes) > 1
    assert shared.num_parameters < sum(sizes)


def test_a_mixture_keeps_the_cell_and_its_number_open_and_names_what_it_cannot() -> None:
    refused = mixture_size(space_with(), IMAGE, "slices").refused
    assert refused is not None
    assert f"'{STACK}/filters' and '{STACK}/stages' cannot be kept open" in refused
    found = mixture_size(space_with(filters=2, stages=2), IMAGE, "slices")
    assert found.refused is None
    paths = [each.path for each in found.decisions]
    assert f"{STACK}/times" in paths
    assert any(path.startswith(f"{STACK}/reduction/block_cell/") for path in paths)


@pytest.mark.slow
@pytest.mark.parametrize(
    "searcher",
    [
        ["random", "max_children=2"],
        ["evolution", "searcher.population_size=2", "searcher.tournament_size=1", "max_children=3"],
        ["smbo", "max_children=2"],
        ["spos", "searcher.num_estimates=4", "searcher.num_trained=1", "max_children=1"],
        ["darts", f"space.concat.{STACK.replace('/', '.')}.filters=2", "max_children=1"],
    ],
    ids=lambda searcher: searcher[0],
)
def test_it_is_searched(
    searcher: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GlobalHydra.instance().clear()
    name, *settings = searcher
    small = ["trainer.max_epochs=1", "tracker=none", "executor=serial", "data.train_share=0.1"]
    if name == "darts":
        small.append(f"space.concat.{STACK.replace('/', '.')}.stages=2")
    where = ["--config-dir", str(CONF), f"hydra.run.dir={tmp_path / 'study'}"]
    arguments = ["nasrunner", *where, "space=stacked", f"searcher={name}", *settings, *small]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.chdir(tmp_path)
    main()
    trained = read_study(tmp_path / "study").trainings
    assert trained
    assert all(each.outcome is not None and each.outcome.reward is not None for each in trained)
