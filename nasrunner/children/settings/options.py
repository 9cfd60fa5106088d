"""The options of a child's training that are not Lightning's."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nasrunner.core.annotations import Above, AtLeast


@dataclass(frozen=True, kw_only=True)
class ChildOptions:
    """What ``conf/trainer`` has beside the arguments of Lightning's Trainer; types and ranges too.

    Attributes:
        channels_last: whether images lie in memory with a pixel's channels together, which makes
            convolutions faster; ``auto``: see ``is_channels_last``.
        fast_loop: whether small children are spared Lightning's work for each batch, where that
            changes no step they take; False: always Lightning's own loop.
        stop_patience: epochs without improvement of the reward's metric after which a child's
            training stops; None: never.
        stop_min_delta: what counts as an improvement, in units of the metric.
        checkpoint: whose weights are kept: ``best`` epoch, ``last`` epoch, ``all`` or ``none``.
        checkpoint_every_s: seconds after which ``last.ckpt`` is written at the end of an epoch: an
            interrupted child goes on from it. None: never.
        batch_size_per_device: of several devices, whether each takes ``data.batch_size`` examples
            a step; False: all together do.
        scale_learning_rate: with the examples of a step over ``data.batch_size``: ``none``,
            ``linear`` or ``sqrt``; see ``scaled``.
        shared_widths: what layers of several sizes in one place of a space have in a supernet: the
            first channels of the largest (``slices``), or weights of their own (``copies``).
        shared_batch_norm: batches of training examples that the statistics of batch normalization
            are taken from where a network is estimated with shared weights.
        batch_norm_epsilon: of every batch normalization of a network; None: what the space says.
    """

    channels_last: bool | Literal["auto"]
    fast_loop: bool
    stop_patience: Annotated[int, AtLeast(0)] | None
    stop_min_delta: Annotated[float, AtLeast(0)]
    checkpoint: Literal["best", "last", "all", "none"]
    checkpoint_every_s: Annotated[float, AtLeast(0)] | None
    batch_size_per_device: bool
    scale_learning_rate: Literal["none", "linear", "sqrt"]
    shared_widths: Literal["slices", "copies"]
    shared_batch_norm: Annotated[int, AtLeast(1)]
    batch_norm_epsilon: Annotated[float, Above(0)] | None
