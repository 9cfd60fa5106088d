"""How supernets are searched that no policy draws architectures for: by gradients."""

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
            their input on, and the last one that had not is found, or the first one where each had;
            None: it does not.
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


@dataclass(frozen=True)
class ForwardGrowth:
    """What a searcher that grows children tells whoever trains parts beside them; picklable.

    Each part has a coefficient α. Hu et al. 2019, arXiv:1905.13360, section 4.

    Attributes:
        learning_rate: of α's gradient descent.
        penalty: of the sum of |α|, λ of its L1 norm.
        num_joined: how many parts join the child at most, one of each decision.
        max_parts: how many are trained beside it; where there are more, some are drawn.
        is_random: whether the parts that join it are drawn instead.
    """

    learning_rate: float
    penalty: float
    num_joined: int
    max_parts: int
    is_random: bool
