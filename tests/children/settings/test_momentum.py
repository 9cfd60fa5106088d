"""Momentum of weights that some steps leave out, against torch's own loop over the weights."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from nasrunner.children.settings.momentum import with_momentum


def trained(optimizer_options: dict[str, object]) -> list[torch.Tensor]:
    """Weights after five steps, of which each has the gradients of some alone."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3, 2)) for _ in range(3)]
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2, **optimizer_options}
    optimizer = with_momentum(SGD(weights, **settings))  # type: ignore[arg-type]
    for step in range(5):
        gradients = [torch.randn(3, 2) for _ in weights]
        for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            weight.grad = gradient if step % 3 >= place else None
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_fused_sgd_takes_the_steps_of_the_loop_over_weights(nesterov: bool) -> None:
    loop = trained({"nesterov": nesterov, "foreach": False})
    fused = trained({"nesterov": nesterov, "fused": True})
    for one, other in zip(fused, loop, strict=True):
        torch.testing.assert_close(one, other)


def test_torch_fails_where_some_weights_are_new() -> None:
    """Once it does not, ``with_momentum`` can go."""
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = SGD(weights, lr=0.1, momentum=0.9, fused=True)
    weights[0].grad = torch.ones(1)
    optimizer.step()
    weights[1].grad = torch.ones(1)
    with pytest.raises(TypeError, match="NoneType"):
        optimizer.step()


def test_other_optimizers_are_left_as_they_are() -> None:
    weight = nn.Parameter(torch.zeros(1))
    plain = SGD([weight], lr=0.1, momentum=0.9, dampening=0.5, fused=True)
    for optimizer in (SGD([weight], lr=0.1, fused=True), plain, Adam([weight], fused=True)):
        assert not with_momentum(optimizer).state
