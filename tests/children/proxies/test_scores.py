"""Each proxy beside the same number found in another way: by hand, numpy or small differences."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nasrunner.children.proxies.scores import PROXIES, scores

K = 1e-5  # of jacob_cov
TARGETS = torch.tensor([0, 1, 2, 1, 0])
OF_BATCHES = ("grad_norm", "snip", "grasp", "fisher")


def images():
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()


def vectors():
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(2)).double()


def cnn(rectifier=nn.ReLU, between=()):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), rectifier(), *between]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 3)).double()


def mlp(rectifier=nn.ReLU, bias=True, units=6):
    torch.manual_seed(0)
    layers = [nn.Linear(4, units, bias=bias), rectifier(), nn.Linear(units, 3, bias=bias)]
    return nn.Sequential(*layers).double()


def loss_of(predicted):
    return functional.cross_entropy(predicted, TARGETS)


def score(name, network, x):
    found = scores(network, x, loss_of, [name])
    assert found.reasons == {}
    return found.values[name]


def reason(name, network, x, loss=loss_of):
    found = scores(network, x, loss, [name])
    assert found.values == {}
    return found.reasons[name]


def weights_of(network):
    return [layer.weight for layer in network if isinstance(layer, nn.Conv2d | nn.Linear)]


def differences(network, x, weight, step=1e-6):
    """The derivative of the loss by each number of a weight, from two losses beside it."""
    found = torch.zeros_like(weight)
    with torch.no_grad():
        for place in np.ndindex(*weight.shape):
            before = weight[place].item()
            beside = []
            for value in (before + step, before - step):
                weight[place] = value
                beside.append(loss_of(network(x)).item())
            weight[place] = before
            found[place] = (beside[0] - beside[1]) / (2 * step)
    return found


@pytest.mark.parametrize(("network", "x"), [(cnn(), images()), (mlp(), vectors())])
def test_grad_norm_and_snip_are_what_small_differences_of_the_loss_give(network, x):
    beside = copy.deepcopy(network).train()
    gradients = [differences(beside, x, weight) for weight in weights_of(beside)]
    norms = sum(math.sqrt(float((each**2).sum())) for each in gradients)
    assert score("grad_norm", network, x) == pytest.approx(norms, rel=1e-6)
    products = zip(weights_of(beside), gradients, strict=True)
    saliency = sum((weight * each).abs().sum().item() for weight, each in products)
    assert score("snip", network, x) == pytest.approx(saliency, rel=1e-6)


@pytest.mark.parametrize(("network", "x"), [(cnn(nn.Tanh), images()), (mlp(nn.Tanh), vectors())])
def test_grasp_is_what_the_gradients_on_both_sides_give(network, x):
    """H g is how fast the gradient changes along g."""

    def gradients(shifts, step):
        beside = copy.deepcopy(network).train()
        with torch.no_grad():
            for weight, shift in zip(weights_of(beside), shifts, strict=True):
                weight += step * shift
        loss_of(beside(x)).backward()
        return [weight.grad for weight in weights_of(beside)]

    nowhere = [torch.zeros_like(weight) for weight in weights_of(network)]
    along = gradients(nowhere, 0.0)
    step = 1e-5
    sides = zip(gradients(along, step), gradients(along, -step), strict=True)
    products = [(high - low) / (2 * step) for high, low in sides]
    pairs = zip(weights_of(network), products, strict=True)
    expected = -sum((weight * product).sum().item() for weight, product in pairs)
    assert score("grasp", network, x) == pytest.approx(expected, rel=1e-6)


def test_fisher_is_summed_over_examples_and_channels_and_counts_their_weights():
    network, x = cnn(), images()
    convolution, normalization, rectifier, flatten, linear = copy.deepcopy(network).train()
    first = convolution(x).detach().requires_grad_()
    last = linear(flatten(rectifier(normalization(first))))
    loss = functional.cross_entropy(last, TARGETS)
    by_first, by_last = torch.autograd.grad(loss, [first, last])
    expected = 0.0
    for channel in range(3):
        products = [(first[n, channel] * by_first[n, channel]).sum().item() for n in range(5)]
        expected += 18 * np.mean(np.square(products)) / 2  # 2 x 3 x 3 weights
        products = [(last[n, channel] * by_last[n, channel]).item() for n in range(5)]
        expected += 12 * np.mean(np.square(products)) / 2
    assert score("fisher", network, x) == pytest.approx(expected, rel=1e-9)


def test_fisher_of_sequences_has_the_last_dimension_for_channels():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(4, 2)).double(), torch.randn(5, 3, 4).double()
    given = network(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad((given**3).mean(), given)
    products = np.einsum("nsk,nsk->nk", given.detach().numpy(), gradient.numpy())
    found = scores(network, x, lambda predicted: (predicted**3).mean(), ["fisher"])
    assert found.values["fisher"] == pytest.approx(4 * np.mean(products**2, axis=0).sum() / 2)


def test_synflow_is_the_flow_through_absolute_weights_once_for_each_layer():
    network = mlp(bias=False)
    first, last = (abs(each.detach().numpy()) for each in weights_of(network))
    flow = (last @ first @ np.ones(4)).sum()
    assert score("synflow", network, vectors()) == pytest.approx(2 * flow)
    network.insert(1, nn.BatchNorm1d(6).double())
    network[1].running_mean.fill_(7.0)
    assert score("synflow", network, vectors()) == pytest.approx(2 * flow)
    network.insert(2, nn.LayerNorm(6).double())
    assert score("synflow", network, vectors()) == pytest.approx(2 * flow)
    assert score("synflow", network.float(), vectors().float()) == pytest.approx(2 * flow)


def test_synflow_looks_at_no_data():
    assert score("synflow", mlp(), vectors()) == score("synflow", mlp(), 100 * vectors())


def test_jacob_cov_is_that_of_the_correlations_of_the_jacobians_rows():
    network, x = mlp(), vectors()
    first, last = weights_of(network)
    hidden = x.numpy() @ first.detach().numpy().T + network[0].bias.detach().numpy()
    rows = ((hidden > 0) * last.detach().numpy().sum(axis=0)) @ first.detach().numpy()
    values = np.linalg.eigvalsh(np.corrcoef(rows))
    expected = -sum(np.log(v + K) + 1 / (v + K) for v in values)
    assert score("jacob_cov", network, x) == pytest.approx(expected, rel=1e-6)


def test_jacob_cov_of_a_linear_network_is_that_of_equal_rows():
    torch.manual_seed(0)
    found = score("jacob_cov", nn.Sequential(nn.Linear(4, 3)).double(), vectors())
    expected = -(math.log(5 + K) + 1 / (5 + K) + 4 * (math.log(K) + 1 / K))
    assert found == pytest.approx(expected, rel=1e-5)


def test_naswot_counts_the_rectifiers_that_switch_alike():
    network, x = mlp(units=30), vectors()
    hidden = x.numpy() @ network[0].weight.detach().numpy().T + network[0].bias.detach().numpy()
    alike = np.zeros((5, 5))
    for i, j in np.ndindex(5, 5):
        alike[i, j] = sum((hidden[i, u] > 0) == (hidden[j, u] > 0) for u in range(30))
    assert score("naswot", network, x) == pytest.approx(math.log(abs(np.linalg.det(alike))))
    twice = nn.Sequential(*network[:2], nn.LeakyReLU(), *network[2:])
    assert score("naswot", twice, x) == pytest.approx(  # rectified inputs are switched on as before
        math.log(abs(np.linalg.det(2 * alike)))
    )


def test_counts_are_those_by_hand():
    assert score("parameters", cnn(), images()) == 3 * 18 + 3 + 6 + 3 * 12 + 3
    assert score("flops", cnn(), images().float()) == 2 * (4 * 3 * 18 + 3 * 12)
    frozen = cnn()
    frozen[0].weight.requires_grad = False
    assert score("parameters", frozen, images()) == 3 + 6 + 3 * 12 + 3


def test_scoring_changes_nothing():
    network, x = cnn(between=[nn.Dropout(0.5)]).float().eval(), images().float()
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(3)
    state, given = torch.get_rng_state(), x.clone()
    with torch.no_grad():
        found = scores(network, x, loss_of)
    assert set(found.values) == set(PROXIES)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, given)
    assert not x.requires_grad
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_neither_dropout_nor_work_in_place_nor_other_proxies_change_a_score():
    x = images()
    plain = scores(cnn(), x, loss_of).values
    others = [cnn(between=[nn.Dropout(0.9)]), cnn(lambda: nn.ReLU(inplace=True)), cnn().eval()]
    for network in others:
        assert scores(network, x, loss_of).values == plain
    for name in reversed(PROXIES):
        assert score(name, cnn(), x) == plain[name]


def test_a_score_that_is_no_number_is_said_and_others_stand():
    network = mlp()
    with torch.no_grad():
        network[2].bias[0] = math.nan
    found = scores(network, vectors(), loss_of)
    assert found.reasons["snip"] == "snip is nan, which is no finite number"
    assert {"parameters", "flops", "jacob_cov"} <= set(found.values)
    assert reason("naswot", network, torch.ones(5, 4).double()) == (
        "naswot: the determinant is 0, as the rectifiers that are switched on do not tell all "
        "examples of the batch apart"
    )
    with torch.no_grad():
        network[0].weight.fill_(1e300)
        network[2].weight.fill_(1e300)
    assert reason("synflow", network, vectors()) == "synflow is inf, which is no finite number"


def test_a_network_that_a_proxy_is_not_made_for_is_refused_in_a_sentence():
    assert reason("naswot", mlp(nn.Tanh), vectors()) == (
        "naswot compares which rectifiers are switched on; legal are networks with layers of ReLU, "
        "ReLU6, LeakyReLU, PReLU, and this one has none"
    )
    scale = nn.Sequential(nn.BatchNorm1d(4)).double()
    assert "looks at convolutions and linear layers" in reason("fisher", scale, vectors())
    zeros = mlp()
    nn.init.zeros_(zeros[2].weight)
    assert "does not depend on its input" in reason("jacob_cov", zeros, vectors())


class Recurrent(nn.Module):
    """Predicts a token for each of a sequence."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(7, 3)
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.linear = nn.Linear(4, 7)

    def forward(self, x):
        return self.linear(self.lstm(self.embedding(x))[0])


def test_a_language_model_is_scored_by_what_its_loss_depends_on():
    tokens = torch.arange(10).reshape(2, 5) % 7

    def loss(predicted):
        return functional.cross_entropy(predicted.flatten(0, 1), tokens.flatten())

    network = Recurrent()
    found = scores(network, tokens, loss)
    assert {*OF_BATCHES, "parameters", "flops"} <= set(found.values)
    loss(network(tokens)).backward()
    norms = sum(p.grad.norm().item() for p in network.parameters() if p.ndim == 2)
    assert found.values["grad_norm"] == pytest.approx(norms, rel=1e-5)
    assert found.reasons["synflow"].endswith("and tokens are no numbers")
    assert found.reasons["jacob_cov"].endswith("and tokens are no numbers")


class TwoInputs(nn.Module):
    """Adds what two linear layers make of two inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, x):
        return torch.relu(self.left(x["a"])) + self.right(x["b"])


def test_several_inputs_are_scored_together():
    x = {"a": vectors().float(), "b": vectors()[:, :2].float()}
    found = scores(TwoInputs(), x, loss_of)
    assert set(found.reasons) == {"naswot"}  # its rectifier is no layer
    assert found.values["flops"] == 2 * (4 * 3 + 2 * 3)
    left, right = (abs(each.weight.detach()).sum().item() for each in vars_of(TwoInputs()))
    assert found.values["synflow"] == pytest.approx(left + right, rel=1e-5)


def vars_of(network):
    return network.left, network.right


def test_there_is_no_proxy_of_another_name():
    with pytest.raises(
        ValueError, match=r"no proxy 'synflw', did you mean 'synflow'\? Legal: fish"
    ):
        scores(mlp(), vectors(), loss_of, ["synflw"])
