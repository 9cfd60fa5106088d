"""Measures a child's validations while the weights that were validated are in the network."""

from typing import Any

import pytorch_lightning as pl
import torch

from nasrunner.children.fit.module import ChildModule

Weights = dict[str, torch.Tensor]
"""A copy of a network's weights and buffers."""

_ORIGINAL, _MASK = "_orig", "_mask"  # of torch.nn.utils.prune


def copied(module: ChildModule) -> Weights:
    """Returns the network's weights as they are now, on their device.

    While a callback prunes, torch holds ``weight_orig`` and ``weight_mask`` in the place of
    ``weight``: the copy has their product, as the network has it once pruning is permanent.
    """
    found = {name: value.detach().clone() for name, value in module.network.state_dict().items()}
    for mask_name in [name for name in found if name.endswith(_MASK)]:
        name = mask_name.removesuffix(_MASK)
        if f"{name}{_ORIGINAL}" in found:
            found[name] = found.pop(f"{name}{_ORIGINAL}") * found.pop(mask_name)
    return found


def are_equal(first: Weights, second: Weights) -> bool:
    """Tells whether two copies hold the same numbers."""
    return all(torch.equal(value, second[name]) for name, value in first.items())


class Measuring(pl.Callback):
    """Ends each validation of a child; the first of its callbacks.

    Callbacks such as ``WeightAveraging`` validate other weights than those that are trained, and
    put these back when the pass ends, before the module's own hook is called: metrics, reward
    and best weights must have been taken by then.

    Args:
        keeps_weights: whether what was validated and what training ended with are copied, for
            ``LastValidation``: where callbacks of the user's may change weights.

    Attributes:
        validated: the weights of the last validation.
        trained: those that training ended with, before other callbacks saw its end.
    """

    def __init__(self, *, keeps_weights: bool) -> None:
        self.keeps_weights = keeps_weights
        self.validated: Weights | None = None
        self.trained: Weights | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ChildModule)
        pl_module.end_validation()
        if self.keeps_weights and not trainer.sanity_checking:
            self.validated = copied(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ChildModule)
        if self.keeps_weights:
            self.trained = copied(pl_module)


class LastValidation(pl.Callback):
    """Validates the final network where a callback has changed it when training ended.

    Such as the average of ``StochasticWeightAveraging``: what the user asked for would otherwise
    never be looked at. The validation is a point of the curve, one epoch after the last. Comes
    after the user's callbacks.

    Args:
        measuring: the first callback of the child.
    """

    def __init__(self, measuring: Measuring) -> None:
        self.measuring = measuring

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ChildModule)
        trained, validated = self.measuring.trained, self.measuring.validated
        if trained is None or validated is None:
            return
        final = copied(pl_module)
        if not are_equal(final, trained) and not are_equal(final, validated):
            _validate_once_more(trainer, pl_module)


def _validate_once_more(trainer: pl.Trainer, module: ChildModule) -> None:
    """What Lightning's training loop does for a validation, after the last epoch."""
    loop: Any = trainer.fit_loop.epoch_loop.val_loop
    module.forget_logged()
    trainer.validating = True
    try:
        loop.run()
    finally:
        trainer.training = True
    module.record_validation()
