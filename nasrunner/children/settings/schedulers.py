"""Learning-rate schedulers that need more than an optimizer; all are stepped once an epoch."""

from typing import Annotated, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nasrunner.core.annotations import AtLeast, Within


class Plateau(ReduceLROnPlateau):
    """Multiplies the learning rate by ``factor`` when a metric has stopped improving.

    DeepArchitect's schedule (arXiv:1704.08792, section 7), where ``monitor`` is the validation
    accuracy and ``threshold`` 0: ``factor`` is its rate multiplier, ``patience`` its patience minus
    1. Its authors' code acts in the p-th epoch without improvement, torch in the one after p.

    Args:
        optimizer: whose learning rate to change.
        monitor: name of the metric: ``val_loss``, ``val_accuracy``, ….
        mode: ``min``: lower is better; ``max``: higher is.
        factor: in (0, 1).
        patience: epochs without improvement that are waited for; the next one changes the rate.
        threshold: an improvement is a change by more than this share of the best value, >= 0.
        cooldown: epochs after a change that are not counted, >= 0.
        min_lr: the learning rate does not fall below, >= 0.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        monitor: str,
        mode: Literal["min", "max"],
        factor: Annotated[float, Within("(0, 1)")],
        patience: Annotated[int, AtLeast(0)],
        threshold: Annotated[float, AtLeast(0)],
        cooldown: Annotated[int, AtLeast(0)],
        min_lr: Annotated[float, AtLeast(0)],
    ) -> None:
        # eps: torch skips changes below 1e-8 by default, so that min_lr 1e-9 is never reached
        super().__init__(
            optimizer,
            mode,
            factor=factor,
            patience=patience,
            threshold=threshold,
            cooldown=cooldown,
            min_lr=min_lr,
            eps=0.0,
        )
        self.monitor = monitor
