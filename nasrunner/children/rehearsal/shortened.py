"""The settings of a child's trainer for a rehearsal: all of the user's but how long it trains."""

from nasrunner.children.settings.searched import Config


def on_one_device(settings: Config) -> Config:
    """Returns a child's trainer for the process it is rehearsed in: ranks are looked at
    elsewhere.
    """
    alone = {"devices": 1, "num_nodes": 1, "strategy": "auto", "sync_batchnorm": False}
    return {**settings, **alone}


def shortened(settings: Config, batches_per_epoch: int | None) -> Config:
    """Returns the same trainer for a step or two, a batch of validation and the end of an epoch."""
    interval = settings.get("val_check_interval")
    is_share = isinstance(interval, float) and interval < 1
    is_count = isinstance(interval, int) and interval != batches_per_epoch
    is_within = batches_per_epoch != 1 and (is_share or is_count)
    is_validated = settings.get("limit_val_batches") != 0 or settings.get("overfit_batches")
    # Where a validation comes before or after the first end of an epoch, it does so here, too.
    num_epochs = min(settings.get("check_val_every_n_epoch") or 1, 2)
    return {
        **on_one_device(settings),
        "max_epochs": num_epochs,
        "min_epochs": None,
        "max_steps": -1,
        "min_steps": None,
        "max_time": None,
        "limit_train_batches": 2 if is_within else 1,
        "limit_val_batches": 1 if is_validated else 0,
        "overfit_batches": 0.0,
        "val_check_interval": 0.5 if is_within else 1.0,
        "check_val_every_n_epoch": num_epochs,
        "num_sanity_val_steps": 0,
        "profiler": None,
    }
