"""Hyperparameters of a space, as the parts of a child have them."""

import pytest
import torch
from torch import nn

from nasrunner.children.settings.searched import applied, variants
from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Genotype, OneOf, SearchSpace
from nasrunner.spaces.language.parsing import parse_space
from tests.children.blobs import MLP, make_trainer, train
from tests.spaces.enumeration import enumerate_genotypes

SGD = {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9}
ADAM = {"_target_": "torch.optim.Adam", "lr": 0.001}
BASE = {
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 4},
    "trainer": {"max_epochs": 4},
}


def searched(**settings: object) -> SearchSpace:
    return parse_space({"relu": None, "hyperparameters": settings})


def optimizer_of(space: SearchSpace, genotype: Genotype) -> torch.optim.Optimizer:
    config = applied(BASE, space.freeze(genotype).hyperparameters)
    made = construct(config["optimizer"], "optimizer", [nn.Parameter(torch.zeros(1))])
    assert isinstance(made, torch.optim.Optimizer)
    return made


def test_a_decision_inside_an_option_belongs_to_that_option() -> None:
    space = searched(
        optimizer={
            "oneof": [
                {**SGD, "nesterov": {"oneof": [False, True]}},
                {**ADAM, "amsgrad": {"oneof": [False, True]}},
            ]
        }
    )
    made = [optimizer_of(space, genotype) for genotype in enumerate_genotypes(space)]
    assert [type(each).__name__ for each in made] == ["SGD", "SGD", "Adam", "Adam"]
    assert [each.defaults["nesterov"] for each in made[:2]] == [False, True]
    assert [each.defaults["amsgrad"] for each in made[2:]] == [False, True]
    assert space.size() == 4


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_answer_is_in_force_wherever_it_is_written(tmp_path, order: tuple[int, ...]) -> None:
    keys = {
        "optimizer": {"oneof": [SGD, ADAM]},
        "optimizer.lr": {"oneof": [1.0e-30, 1.0e-2]},
    }
    settings = dict(list(keys.items())[place] for place in order)
    space = {**MLP, "hyperparameters": settings}
    genotype = dict.fromkeys(parse_space(space).signature(), 0)
    outcome = train(tmp_path, space=space, genotype=genotype)
    assert outcome.error is None
    assert outcome.metrics["learning_rate"] == 1e-30


def test_a_value_that_refers_to_another_key_has_what_that_key_becomes() -> None:
    space = searched(
        **{
            "scheduler.T_max": "${trainer.max_epochs}",
            "trainer.max_epochs": {"oneof": [2, 8]},
            "optimizer.lr": {"oneof": ["${optimizer.eps}", 0.5]},
            "optimizer": {"oneof": [{**ADAM, "eps": 0.25}]},
        }
    )
    configs = [applied(BASE, space.freeze(g).hyperparameters) for g in enumerate_genotypes(space)]
    assert [c["scheduler"]["T_max"] for c in configs] == [2, 2, 8, 8]
    assert [c["optimizer"]["lr"] for c in configs] == [0.25, 0.5] * 2


def test_a_reference_to_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hyperparameters: .*'trainer.epochs' not found"):
        applied(BASE, [("scheduler.T_max", "${trainer.epochs}")])


@pytest.mark.parametrize("key", ["optimizer.betas.2", "optimizer.betas.first", "optimizer.lr.x"])
def test_a_key_that_is_not_there_is_refused(key: str) -> None:
    base = {"optimizer": {**ADAM, "betas": [0.9, 0.99]}}
    assert applied(base, [("optimizer.betas.1", 0.5)])["optimizer"]["betas"] == [0.9, 0.5]
    with pytest.raises(ConfigError, match=rf"configuration has no '{key}'"):
        applied(base, [(key, 0.5)])


def test_every_option_is_tried_with_the_first_of_the_others() -> None:
    nested = OneOf(({**SGD, "nesterov": OneOf((False, True))}, ADAM))
    settings = [("optimizer.lr", OneOf((0.1, 0.2))), ("optimizer", nested)]
    found = [config["optimizer"] for _, config in variants(BASE, settings)]
    assert found == [
        {**SGD, "nesterov": False, "lr": 0.1},
        {**SGD, "nesterov": False, "lr": 0.2},
        {**SGD, "nesterov": True, "lr": 0.1},
        {**ADAM, "lr": 0.1},
    ]


def test_of_a_fine_grid_twenty_numbers_are_tried_with_both_ends() -> None:
    settings = [("optimizer.lr", OneOf(tuple(range(1, 1001))))]
    tried = [config["optimizer"]["lr"] for _, config in variants(BASE, settings)]
    assert len(tried) == 20
    assert (tried[0], tried[-1]) == (1, 1000)


def test_a_wrong_value_in_an_option_is_found_before_training() -> None:
    nested = {"oneof": [{**SGD, "momentum": {"oneof": [0.9, -1]}}, ADAM]}
    with pytest.raises(ConfigError, match=r"Invalid momentum value: -1 \(with space.hyperparam"):
        make_trainer(space={**MLP, "hyperparameters": {"optimizer": nested}})
