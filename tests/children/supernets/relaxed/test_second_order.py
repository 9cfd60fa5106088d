"""The gradient one step ahead is the derivative of what that step leads to."""

import pytest
import torch

from nasrunner.children.supernets.relaxed.second_order import first_order, second_order
from nasrunner.core import ConfigError


class Problem:
    """Two layers whose units' weights depend on α, in double precision; two rates of learning."""

    def __init__(self, **settings):
        torch.manual_seed(0)
        double = {"dtype": torch.float64, "requires_grad": True}
        self.weights = [torch.randn(4, 3, **double), torch.randn(2, 4, **double)]
        self.alphas = [torch.randn(4, **double), torch.randn(2, **double)]
        self.batches = [(torch.randn(8, 3).double(), torch.randn(8, 2).double()) for _ in range(2)]
        groups = [
            {"params": [w], "lr": lr} for w, lr in zip(self.weights, (0.1, 0.03), strict=True)
        ]
        self.optimizer = torch.optim.SGD(groups, **settings)
        for _ in range(3):  # the optimizer has something to remember
            self.optimizer.zero_grad()
            self.loss(0, self.weights).backward()
            self.optimizer.step()
        for each in (*self.weights, *self.alphas):
            each.grad = None

    def loss(self, batch, weights):
        x, y = self.batches[batch]
        hidden = torch.tanh(x @ weights[0].T) * self.alphas[0].softmax(0)
        return ((hidden @ weights[1].T) * self.alphas[1].sigmoid() - y).square().mean()

    def found(self):
        return second_order(
            self.alphas,
            self.optimizer,
            lambda: self.loss(0, self.weights),
            lambda: self.loss(1, self.weights),
        )

    def exact(self):
        grads = torch.autograd.grad(self.loss(0, self.weights), self.weights, create_graph=True)
        ahead = []
        for group, grad in zip(self.optimizer.param_groups, grads, strict=True):
            (w,) = group["params"]
            step = grad + group["weight_decay"] * w
            if group["momentum"]:
                step = step + group["momentum"] * self.optimizer.state[w]["momentum_buffer"]
            ahead.append(w - group["lr"] * step)
        return torch.autograd.grad(self.loss(1, ahead), self.alphas)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_second_order_is_the_exact_gradient_behind_a_step(momentum, weight_decay):
    problem = Problem(momentum=momentum, weight_decay=weight_decay)
    before = [w.detach().clone() for w in problem.weights]
    found, exact = problem.found(), problem.exact()
    first = first_order(problem.alphas, lambda: problem.loss(1, problem.weights))
    for one, other, without in zip(found, exact, first, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)
        assert (one - without).abs().max() > 1e3 * (one - other).abs().max()
    assert all(map(torch.equal, before, problem.weights))
    assert all(w.grad is None for w in problem.weights + problem.alphas)


def test_weights_are_put_back_where_a_loss_fails():
    problem = Problem()
    before = [w.detach().clone() for w in problem.weights]

    def broken():
        raise FloatingPointError("it broke")

    with pytest.raises(FloatingPointError, match="it broke"):
        second_order(
            problem.alphas, problem.optimizer, lambda: problem.loss(0, problem.weights), broken
        )
    assert all(map(torch.equal, before, problem.weights))


def test_without_a_step_it_is_the_first_order():
    problem = Problem()
    for group in problem.optimizer.param_groups:
        group["lr"] = 0.0
    first = first_order(problem.alphas, lambda: problem.loss(1, problem.weights))
    assert all(map(torch.equal, problem.found(), first))


def test_another_optimizer_is_refused():
    problem = Problem()
    problem.optimizer = torch.optim.Adam(problem.weights)
    with pytest.raises(ConfigError, match=r"by a step of SGD, and the weights' optimizer is Adam"):
        problem.found()
