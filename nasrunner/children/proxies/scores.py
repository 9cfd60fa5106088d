"""The proxies: each a function of a network, a batch and a loss. Higher is said to be better.

Abdelfattah et al. 2021, arXiv:2101.08134, section 3, score a network by the sum of what pruning at
initialization gives each of its weights; their code is the reference for each one's details.

Differs from their code, for all that sum over weights: these are all trained parameters with two or
more dimensions that are not of a normalization, so those of recurrent layers and embeddings, too,
where theirs are of ``Conv2d`` and ``Linear``. Dropout is off: it is no property of the network.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from nasrunner.children.blueprint import count_flops
from nasrunner.children.inputs import Inputs
from nasrunner.children.proxies.sample import (
    NORMALIZATIONS,
    Loss,
    ProxyError,
    Sample,
    gradients_of,
    run,
)
from nasrunner.core.errors import suggest
from nasrunner.core.shapes import each_input

# B = batch, D = numbers of an example

Proxy = Literal[
    "parameters",
    "flops",
    "grad_norm",
    "snip",
    "grasp",
    "fisher",
    "synflow",
    "jacob_cov",
    "naswot",
]
"""The names of the proxies, each that of its function here."""

_PIECEWISE_LINEAR = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)
_ADDED_TO_EIGENVALUES = 1e-5  # k of jacob_cov


def parameters(sample: Sample) -> float:
    """Returns how many parameters are trained."""
    return float(sum(each.numel() for each in sample.network.parameters() if each.requires_grad))


def flops(sample: Sample) -> float:
    """Returns floating-point operations of one example's forward pass, as of ``count_flops``."""
    in_shape = each_input(sample.x, lambda part: tuple(part.shape[1:]))
    dtypes = each_input(sample.x, lambda part: str(part.dtype).removeprefix("torch."))
    return float(count_flops(copy.deepcopy(sample.network).to("meta"), in_shape, dtypes))


def grad_norm(sample: Sample) -> float:
    """Returns the sum of the Euclidean norms of the weights' gradients, one norm for each tensor.

    Abdelfattah et al. 2021, section 3.2, as their code has it.
    """
    return float(sum(each.double().norm() for each in sample.first_pass.gradients))


def snip(sample: Sample) -> float:
    """Returns the sum of |dL/dw · w|. Lee et al. 2019, arXiv:1810.02340; Abdelfattah et al. 2021,
    eq. 1.

    The derivative by a mask of ones on a weight, which Lee et al. have, is that by the weight times
    the weight. They divide by the sum, which is what counts here.
    """
    pairs = zip(sample.weights, sample.first_pass.gradients, strict=True)
    return float(sum((w.detach() * gradient).abs().double().sum() for w, gradient in pairs))


def grasp(sample: Sample) -> float:
    """Returns the sum of −(H g) · w, with the Hessian H and the gradient g of the loss.

    Wang et al. 2020, arXiv:2002.07376; Abdelfattah et al. 2021, eq. 1, with the sign of their code,
    by which higher is better. No temperature divides what the network predicts, as in theirs.
    """
    weights = sample.weights
    loss = sample.loss(run(sample.network, sample.x))
    gradients = gradients_of(loss, weights, create_graph=True)
    pairs = zip(sample.first_pass.gradients, gradients, strict=True)
    product = sum(((fixed * each).sum() for fixed, each in pairs), torch.zeros(()))
    products = zip(weights, gradients_of(product, weights), strict=True)
    return float(-sum((w.detach() * each).double().sum() for w, each in products))


def fisher(sample: Sample) -> float:
    """Returns the sum of Δ_k = 1/2 · mean over examples of (Σ over places of a_k · dL/da_k)², a
    channel's activations a_k. Theis et al. 2018, arXiv:1801.05787; Turner et al. 2020,
    arXiv:1906.04113; Abdelfattah et al. 2021, eq. 2.

    Looked at are the outputs of convolutions and linear layers, and a channel counts once for each
    of its weights: both as in Abdelfattah et al.'s code.

    Differs from it: of a linear layer on sequences, the last dimension is the channels.

    Raises:
        ProxyError: the network has no such layer.
    """
    found = sample.first_pass.fisher
    if found.num_layers == 0:
        raise ProxyError("fisher looks at convolutions and linear layers; the network has none")
    return float(found.total)


def synflow(sample: Sample) -> float:
    """Returns the sum of |dR/dw · w|, R the sum of what the network of the absolute weights
    predicts for an example of ones. Tanaka et al. 2020, arXiv:2006.05467; Abdelfattah et al. 2021,
    eq. 1.

    No data are looked at. In double precision and without batch normalization, as in Abdelfattah
    et al.'s code.

    Differs from it: other normalizations are left out, too.

    Raises:
        ProxyError: inputs are tokens.
    """
    _check_numbers(sample.x, "synflow puts an input of ones through the network")
    linear = Sample(copy.deepcopy(sample.network).double().eval(), sample.x, sample.loss)
    with torch.no_grad():
        for tensor in linear.network.state_dict().values():
            tensor.abs_()
    for layer in linear.network.modules():
        if isinstance(layer, NORMALIZATIONS):
            layer.register_forward_hook(lambda layer, inputs, output: inputs[0])
    ones = each_input(sample.x, lambda part: part.new_ones(1, *part.shape[1:]).double())
    gradients = gradients_of(run(linear.network, ones).sum(), linear.weights)
    pairs = zip(linear.weights, gradients, strict=True)
    return float(sum((w.detach() * gradient).abs().sum() for w, gradient in pairs))


def jacob_cov(sample: Sample) -> float:
    """Returns −Σ (log(v + k) + 1 / (v + k)), v the eigenvalues of the correlations of the examples'
    rows of the Jacobian, k = 1e-5. Mellor et al. 2020, arXiv:2006.04647v1, the score S of section
    3.

    A row is the derivative of the sum of an example's predictions by its inputs. With batch
    normalization it has a little of the other examples', as in the authors' code.

    Raises:
        ProxyError: inputs are tokens, or a row is constant.
    """
    _check_numbers(sample.x, "jacob_cov differentiates by the inputs")
    x = each_input(sample.x, lambda part: part.detach().clone().requires_grad_())
    parts = list(x.values()) if isinstance(x, Mapping) else [x]
    predicted = run(sample.network, x)
    jacobian_BD = torch.cat([each.flatten(1) for each in gradients_of(predicted.sum(), parts)], 1)
    centred_BD = jacobian_BD.double() - jacobian_BD.double().mean(dim=1, keepdim=True)
    norms_B = centred_BD.norm(dim=1, keepdim=True)
    if bool((norms_B == 0).any()):
        raise ProxyError("jacob_cov: the prediction for an example does not depend on its input")
    rows_BD = centred_BD / norms_B
    values_B = torch.linalg.eigvalsh(rows_BD @ rows_BD.T) + _ADDED_TO_EIGENVALUES
    return float(-(values_B.log() + 1 / values_B).sum())


def naswot(sample: Sample) -> float:
    """Returns log |det K|, K the number of rectifiers that two examples of the batch switch alike.

    Mellor et al. 2021, arXiv:2006.04647v3, the score s of section 3: a measure of how well the
    linear regions of a network tell the examples apart. Its piecewise linear rectifiers count.

    Differs from the authors' code: rectifiers that no gradient comes back to count, too. (In
    NAS-Bench-201 theirs has none: ``none`` multiplies by 0.)

    Raises:
        ProxyError: the network has none, as a module of its own, or the determinant is 0.
    """
    layers = [each for each in sample.network.modules() if isinstance(each, _PIECEWISE_LINEAR)]
    if not layers:
        raise ProxyError(
            "naswot compares which rectifiers are switched on; legal are networks with layers of "
            f"{', '.join(kind.__name__ for kind in _PIECEWISE_LINEAR)}, and this one has none"
        )
    alike_BB: list[torch.Tensor] = []

    def look_at(layer: Any, inputs: tuple[torch.Tensor]) -> None:
        codes_BD = (inputs[0].detach().flatten(1) > 0).float()
        others_BD = 1 - codes_BD
        alike_BB.append((codes_BD @ codes_BD.T + others_BD @ others_BD.T).double())

    hooks = [each.register_forward_pre_hook(look_at) for each in layers]
    try:
        with torch.no_grad():
            run(sample.network, sample.x)
    finally:
        for hook in hooks:
            hook.remove()
    logarithm = float(torch.linalg.slogdet(torch.stack(alike_BB).sum(dim=0)).logabsdet)
    if logarithm == -math.inf:
        raise ProxyError(
            "naswot: the determinant is 0, as the rectifiers that are switched on do not tell all "
            "examples of the batch apart"
        )
    return logarithm


PROXIES: Mapping[str, Callable[[Sample], float]] = {
    name: globals()[name] for name in get_args(Proxy)
}
"""All of them by name."""


@dataclass(frozen=True)
class Scores:
    """What proxies say of a network.

    Attributes:
        values: by name; finite.
        reasons: why others say nothing, by name.
    """

    values: Mapping[str, float]
    reasons: Mapping[str, str]


def scores(
    network: nn.Module, x: Inputs, loss: Loss, names: Collection[str] = tuple(PROXIES)
) -> Scores:
    """Scores a built network on a batch; the network and all random generators stay as they are.

    Args:
        network: with its first weights, on the device of the batch.
        x: the inputs of the batch.
        loss: of the batch.
        names: of the proxies.

    Raises:
        ValueError: there is no proxy of a name.
    """
    check_proxies(names)
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    with _apart_from_others(x):
        sample = Sample.of(network, x, loss)
        for name in dict.fromkeys(names):
            torch.manual_seed(0)  # what else a network may draw is the same for each
            try:
                value = PROXIES[name](sample)
            except ProxyError as error:
                reasons[name] = str(error)
            except (RuntimeError, NotImplementedError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                reasons[name] = f"{name} fails: {' '.join(str(error).split())}"
            else:
                values[name] = value
    wrong = {name: value for name, value in values.items() if not abs(value) < float("inf")}
    reasons |= {
        name: f"{name} is {value}, which is no finite number" for name, value in wrong.items()
    }
    return Scores({name: v for name, v in values.items() if name not in wrong}, reasons)


def check_proxies(names: Collection[str]) -> None:
    """Refuses what is no proxy.

    Raises:
        ValueError: names it, and the nearest that there is.
    """
    for name in names:
        if name not in PROXIES:
            raise ValueError(f"there is no proxy {name!r}, {suggest(str(name), PROXIES)}")


@contextmanager
def _apart_from_others(x: Inputs) -> Iterator[None]:
    """Lets gradients be taken, whatever is asked around, and puts random generators back."""
    devices = {part.device for part in (x.values() if isinstance(x, Mapping) else [x])}
    on_gpu = [each for each in devices if each.type == "cuda"]
    with torch.random.fork_rng(on_gpu), torch.inference_mode(False), torch.enable_grad():
        yield


def _check_numbers(x: Inputs, what: str) -> None:
    """Refuses tokens, which are no numbers that something could be done with."""
    for part in x.values() if isinstance(x, Mapping) else [x]:
        if not part.dtype.is_floating_point:
            raise ProxyError(f"{what}, and tokens are no numbers")
