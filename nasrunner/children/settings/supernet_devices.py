"""What of several devices a supernet cannot honour; known before Lightning is imported."""

from collections.abc import Mapping

from nasrunner.children.settings.searched import Config
from nasrunner.core.errors import ConfigError

SYNCHRONIZED = (
    "trainer.sync_batchnorm=true: the networks of a supernet normalize each device's part of a "
    "batch by itself; legal: false, or trainer.devices=1 trainer.num_nodes=1"
)

_OF_WRAPPER = ("ddp_comm_hook", "ddp_comm_state", "ddp_comm_wrapper", "model_averaging_period")
"""Arguments of Lightning's strategy that say how DDP's wrapper averages gradients."""


def check_shares_gradients(trainer: Config) -> None:
    """Refuses what a supernet on several devices could not honour.

    Args:
        trainer: the ``trainer`` part of its configuration.

    Raises:
        ConfigError: batches are to be normalized over devices, or gradients averaged in a way of
            DDP's own.
    """
    numbers = [trainer.get(key) for key in ("devices", "num_nodes")]
    is_one = all(
        each in (None, 1, "1", "auto") or (isinstance(each, list) and len(each) == 1)
        for each in numbers  # "auto" is looked at where the devices are
    )
    if trainer.get("sync_batchnorm") and not is_one:
        raise ConfigError(SYNCHRONIZED)
    strategy = trainer.get("strategy")
    given = strategy if isinstance(strategy, Mapping) else {}
    if name := next((each for each in _OF_WRAPPER if given.get(each) is not None), None):
        raise ConfigError(
            f"trainer.strategy.{name}: only those gradients of a supernet are averaged that a step "
            "has, without the wrapper of DDP that this is of; legal: null"
        )
