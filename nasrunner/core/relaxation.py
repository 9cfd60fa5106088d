"""How a supernet that holds all options of a space is searched by gradients."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Relaxation:
    """What a searcher of a supernet's mixtures tells whoever trains it; picklable.

    A decision has a parameter for each option, α. Liu et al. 2019, arXiv:1806.09055.

    Attributes:
        weighs: ``softmax``: all options count, by softmax(α); ``gumbel``: one is drawn for each
            batch, by the Gumbel-softmax of Dong & Yang 2019, arXiv:1910.04465.
        order: of the approximation of α's gradient; ``second`` looks one step of the weights ahead.
        learning_rate: of α's Adam.
        betas: of the same.
        weight_decay: of the same.
        temperatures: of the Gumbel-softmax in the first epoch and in the last, linear between them.
        affine: whether batch normalizations inside of options scale and shift their outputs.
        takes_zero: whether the derived architecture may have an option that returns zeros where
            there are others.
        max_skips: training ends once the derived architecture would have more options that pass
            their input on, and the last one that had not is found; None: it does not.
        num_sampled: how many architectures are drawn by softmax(α) and found beside the derived.
    """

    weighs: Literal["softmax", "gumbel"]
    order: Literal["first", "second"]
    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    temperatures: tuple[float, float]
    affine: bool
    takes_zero: bool
    max_skips: int | None
    num_sampled: int
