"""Search with a differentiable sampler. Dong & Yang 2019, arXiv:1910.04465."""

from collections.abc import Mapping
from typing import Annotated

from nasrunner.core.annotations import Above, AtLeast, Seed
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import Space
from nasrunner.searchers.one_shot.darts import Beta
from nasrunner.searchers.one_shot.gradient_search import GradientSearch


class Gdas(GradientSearch):
    """Draws one option of each decision for every batch by the Gumbel-softmax, and learns by it.

    Only what is drawn is computed: it counts 1, and α has the gradient of its soft weight (eqs. 3
    to 5 there). Validation batches are α's, training batches the weights', in turns; the strongest
    option of each decision makes the derived architecture.

    Args:
        first_temperature: τ of the first epoch.
        last_temperature: τ of the last epoch, linear between the two.
        learning_rate: of α's Adam.
        betas: of the same.
        weight_decay: of the same.
        affine: whether batch normalizations inside of options scale and shift their outputs.
        takes_zero: whether the derived architecture may have options that return zeros.
        max_skips: as of ``Darts``.
        num_sampled: architectures that are drawn by softmax(α) and trained beside the derived one.
        supernet: as of ``GradientSearch``.

    Differs from the paper: its authors' code passes gradients through the weights of the options
    that are not drawn, too, as if each had made ones.
    """

    def __init__(
        self,
        *,
        first_temperature: Annotated[float, Above(0)],
        last_temperature: Annotated[float, Above(0)],
        learning_rate: Annotated[float, Above(0)],
        betas: tuple[Beta, Beta],
        weight_decay: Annotated[float, AtLeast(0)],
        affine: bool,
        takes_zero: bool,
        max_skips: Annotated[int, AtLeast(0)] | None,
        num_sampled: Annotated[int, AtLeast(0)],
        supernet: Mapping[str, float] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(supernet=supernet, space=space, seed=seed)
        first, second = betas
        self._relaxation = Relaxation(
            weighs="gumbel",
            order="first",
            learning_rate=learning_rate,
            betas=(first, second),
            weight_decay=weight_decay,
            temperatures=(first_temperature, last_temperature),
            affine=affine,
            takes_zero=takes_zero,
            max_skips=max_skips,
            num_sampled=num_sampled,
        )

    def policy(self) -> Relaxation:
        return self._relaxation
