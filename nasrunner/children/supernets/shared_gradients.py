"""The gradients of a supernet that several ranks train: the mean of what each of them has found."""

from collections.abc import Iterable, Sequence

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from nasrunner.children.settings.supernet_devices import SYNCHRONIZED
from nasrunner.core.errors import ConfigError


class SharedGradients(pl.Callback):
    """Averages the gradients of a supernet over its ranks, in the place of DDP's wrapper.

    A step trains the weights of what was drawn for it, a small share of all. These are sent alone,
    where the wrapper would send all of them; a weight that no rank has used keeps no gradient, so
    that no optimizer moves it. Where several batches make a step, each may train other weights, and
    their sum is sent once.

    Comes before callbacks that look at gradients.

    Args:
        is_synchronized: whether ``trainer.sync_batchnorm`` is set, which is refused where there
            turn out to be several ranks.
    """

    def __init__(self, *, is_synchronized: bool) -> None:
        super().__init__()
        self._is_synchronized = is_synchronized

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._is_synchronized and trainer.world_size > 1:
            raise ConfigError(SYNCHRONIZED)
        strategy = trainer.strategy
        if isinstance(strategy, DDPStrategy):  # also of one rank
            # It would wrap the module.
            strategy.configure_ddp = lambda: None  # type: ignore[method-assign]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1:  # as the wrapper does: a user's module may draw for itself
            for weight in pl_module.parameters():
                dist.broadcast(weight.data, 0)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Here and not before the step: what scales losses looks at the gradients in between.
        if trainer.world_size > 1 and not trainer.fit_loop._should_accumulate():
            groups = trainer.optimizers[0].param_groups
            share_gradients([weight for group in groups for weight in group["params"]])


def share_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Gives every rank the mean over ranks of the gradients that some rank has.

    Where a rank has none of such a weight it counts as zeros; all ranks call it together.

    Args:
        weights: the same ones on each rank, in the same order.
    """
    used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8)
    used = used.to(weights[0].device)
    dist.all_reduce(used, dist.ReduceOp.MAX)
    gradients: list[torch.Tensor] = []
    for weight, is_used in zip(weights, used.tolist(), strict=True):
        if is_used:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients.append(weight.grad)
    for gradient, mean in zip(gradients, mean_over_ranks(gradients), strict=True):
        gradient.copy_(mean)


def mean_over_ranks(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the mean over ranks of each tensor; all ranks call it together.

    Args:
        tensors: of the same shapes on each rank; those of one type are sent together.
    """
    given = list(tensors)
    found = list(given)
    for dtype in dict.fromkeys(each.dtype for each in given):
        places = [place for place, each in enumerate(given) if each.dtype == dtype]
        flat = torch.cat([given[place].reshape(-1) for place in places])
        flat /= dist.get_world_size()  # before the sum, which may be too large for half precision
        dist.all_reduce(flat)
        parts = torch.split(flat, [given[place].numel() for place in places])
        for place, part in zip(places, parts, strict=True):
            found[place] = part.view(given[place].shape)
    return found
