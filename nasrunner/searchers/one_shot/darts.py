"""Differentiable architecture search. Liu et al. 2019, arXiv:1806.09055."""

from collections.abc import Mapping
from typing import Annotated, Literal

from nasrunner.core.annotations import Above, AtLeast, Seed, Within
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.space import Space
from nasrunner.searchers.one_shot.gradient_search import GradientSearch

Beta = Annotated[float, Within("[0, 1)")]


class Darts(GradientSearch):
    """Weighs all options of each decision by softmax(α), and learns α on validation batches.

    Algorithm 1 there: before each step of the weights, which is taken on a training batch, there
    is one of α. The strongest option of each decision makes the derived architecture; where a cell
    keeps some of its edges, as ``block_cell`` with ``inputs: distinct`` and the recurrent cells do,
    those whose strongest operations are the strongest stay, zeros left out (section 2.4).

    Args:
        order: of α's gradient: ``first`` takes the present weights for the best ones, ``second``
            looks one step of them ahead, for about three times the time of a step.
        learning_rate: of α's Adam.
        betas: of the same.
        weight_decay: of the same.
        affine: whether batch normalizations inside of options scale and shift their outputs.
        takes_zero: whether the derived architecture may have options that return zeros.
        max_skips: training ends once the derived architecture would have more options that pass
            their input on, see ``Relaxation``; None: it does not.
        num_sampled: architectures that are drawn by softmax(α) and trained beside the derived one.
        supernet: as of ``GradientSearch``.

    Differs from the paper: of a cell whose nodes keep all of their edges, such as ``cell``, the
    derived one does, too. Recurrent layers begin each batch with zeros.
    """

    def __init__(
        self,
        *,
        order: Literal["first", "second"],
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
            weighs="softmax",
            order=order,
            learning_rate=learning_rate,
            betas=(first, second),
            weight_decay=weight_decay,
            temperatures=(1.0, 1.0),
            affine=affine,
            takes_zero=takes_zero,
            max_skips=max_skips,
            num_sampled=num_sampled,
        )

    def policy(self) -> Relaxation:
        return self._relaxation
