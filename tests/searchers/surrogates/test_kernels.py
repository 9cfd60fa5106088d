import numpy as np
import pytest

from nasrunner.searchers.surrogates.kernels import KernelShape, factored, log_likelihoods


@pytest.mark.parametrize("noise", [0.0005, 0.001, 0.4])
def test_likelihoods_are_those_of_the_formula(noise: float) -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(50, 3))
    distances = 0.5 * ((places[:, None] - places) ** 2).sum(axis=-1)
    targets = np.sin(places[:, 0]) + 0.1 * rng.normal(size=50)
    shapes = [KernelShape("genotype", decay, noise) for decay in (0.1, 2.0)]
    kernels = factored(shapes, {"genotype": distances}, targets)
    for kernel, decay in zip(kernels, (0.1, 2.0), strict=True):
        covariance = np.exp(-decay * distances) + noise * np.eye(50)
        lower = np.tril(kernel.factor_NN)
        np.testing.assert_allclose(lower @ lower.T, covariance, atol=1e-12)
        variance = targets @ np.linalg.solve(covariance, targets) / 50
        expected = -0.5 * (50 * np.log(variance) + np.linalg.slogdet(covariance)[1])
        assert kernel.log_likelihood == pytest.approx(expected)
    single = log_likelihoods(shapes, {"genotype": distances}, targets)
    # without enough noise for single precision, the same numbers in double
    tolerance = 0.05 if noise >= 0.001 else 1e-9
    np.testing.assert_allclose(single, [k.log_likelihood for k in kernels], atol=tolerance)


def test_children_that_a_kernel_cannot_tell_apart_need_noise() -> None:
    alike = {"genotype": np.zeros((4, 4))}
    with pytest.raises(np.linalg.LinAlgError, match=r"singular.*noises must be larger"):
        factored([KernelShape("genotype", 1.0, 1e-17)], alike, np.arange(4.0))
