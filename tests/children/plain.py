"""Lightning without nasrunner: what a child's training is compared with, and data to do it on."""

import json

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from nasrunner.children.muted import without_messages
from nasrunner.children.settings.arguments import OWN as OWN_ARGUMENTS
from nasrunner.children.settings.searched import applied
from nasrunner.compose.construct import construct
from nasrunner.core import Proposal, child_folder
from tests.children.blobs import OwnBlobs, make_trainer
from tests.toys import train_one


class NoisyPoints(Dataset):
    """Points that get other noise each time they are asked for, wherever that is."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row] + 0.5 * torch.randn(4) + float(np.random.randn()), self.y[row]  # noqa: NPY002


class EpochSampler(Sampler):
    """An order that depends on the epoch it is told, as DistributedSampler's does."""

    def __init__(self, size):
        self.size, self.epoch = size, None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.size

    def __iter__(self):
        rng = np.random.default_rng(1000 if self.epoch is None else self.epoch)
        return iter(rng.permutation(self.size).tolist())


class WorkerBlobs(OwnBlobs):
    """The clouds as a user serves them who knows torch: processes that load, a sampler, noise."""

    def __init__(self, num_workers, has_sampler, seeds_workers, **arguments):
        super().__init__(**arguments)
        self.num_workers, self.has_sampler = num_workers, has_sampler
        self.seeds_workers = seeds_workers

    def loader(self, part, **order):
        is_many = self.num_workers > 0
        return DataLoader(
            NoisyPoints(*part),
            self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=is_many,
            worker_init_fn=seed_of_worker if self.seeds_workers else None,
            **order,
        )

    def train_dataloader(self):
        if self.has_sampler:
            return self.loader(self.train, sampler=EpochSampler(len(self.train[0])))
        return self.loader(self.train, shuffle=True)

    def val_dataloader(self):
        return self.loader(self.validation)


def seed_of_worker(worker):
    """A user's own: the same noise in each worker of a number."""
    torch.manual_seed(4711 + worker)
    np.random.seed(4711 + worker)  # noqa: NPY002


class PlainModule(pl.LightningModule):
    """What a user would write for Lightning alone."""

    def __init__(self, network, config):
        super().__init__()
        self.network, self.config = network, config

    def configure_optimizers(self):
        optimizer = construct(self.config["optimizer"], "optimizer", self.parameters())
        settings = dict(self.config["scheduler"])
        interval = settings.pop("interval", "epoch")
        scheduler = {"scheduler": make_scheduler(settings, optimizer), "interval": interval}
        if "monitor" in settings:
            scheduler |= {"monitor": settings["monitor"], "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch, batch_idx):
        x, y = batch
        return functional.cross_entropy(self.network(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        predicted = self.network(x)
        loss = functional.cross_entropy(predicted, y)
        accuracy = (predicted.argmax(dim=1) == y).float().mean()
        self.log_dict({"val_loss": loss, "val_accuracy": accuracy}, batch_size=len(y))


def make_scheduler(settings, optimizer):
    """The scheduler by torch's own constructor; numbers only, nothing of ours."""
    if "schedulers" not in settings:
        return construct(settings, "scheduler", optimizer)
    made = [construct(part, "scheduler", optimizer) for part in settings["schedulers"]]
    rest = {name: value for name, value in settings.items() if name != "schedulers"}
    return construct(rest, "scheduler", optimizer=optimizer, schedulers=made)


class Seen(pl.Callback):
    """Writes down each validation, with its step and learning rate."""

    def __init__(self):
        self.validations = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            metrics = {name: float(trainer.callback_metrics[name]) for name in METRICS}
            self.validations.append({"step": trainer.global_step, **metrics})


METRICS = ("val_loss", "val_accuracy")


def lightnings_own(*overrides, schedule=None, **arguments):
    """The validations and final weights of Lightning's own fit with a child's configuration.

    Args:
        schedule: the scheduler's settings without any ``auto``, where ours have some.
    """
    trainer = make_trainer(*overrides, is_rehearsed=False, **arguments)
    frozen = trainer.space.freeze(trainer.space.walk(lambda decision: 0))
    config = applied(trainer.config, frozen.hyperparameters)
    if schedule is not None:
        config["scheduler"] = schedule
    settings = {
        name: value
        for name, value in config["trainer"].items()
        if not name.startswith("_") and name not in OWN_ARGUMENTS
    }
    users = settings.pop("callbacks") or []
    callbacks = [construct(each, "callback") for each in users]
    seen = Seen()
    with without_messages():
        pl.seed_everything(0, workers=True, verbose=False)
        data = construct(config["data"], "data")
        seed = int(np.random.SeedSequence([0, 0]).generate_state(1)[0])
        pl.seed_everything(seed, workers=True, verbose=False)
        network, _ = frozen.build(trainer.in_shape)
        module = PlainModule(network, config)
        lightning = pl.Trainer(**settings, callbacks=[*callbacks, seen])
        lightning.fit(module, datamodule=data)
    return seen.validations, network.state_dict()


def childs(folder, *overrides, **arguments):
    """The validations and final weights of the same child as nasrunner trains it."""
    trainer = make_trainer(*overrides, "trainer.checkpoint=all", **arguments)
    outcome = train_one(
        trainer.task(folder, 0), Proposal(0, trainer.space.walk(lambda decision: 0))
    )
    assert outcome.error is None, outcome.error
    lines = (child_folder(folder, 0) / "curves.jsonl").read_text().splitlines()
    validations = [
        {"step": line["step"], **{name: line[name] for name in METRICS}}
        for line in map(json.loads, lines)
        if "val_loss" in line
    ]
    last = torch.load(child_folder(folder, 0) / "last.ckpt", weights_only=False)["state_dict"]
    prefix = "network."
    weights = {n.removeprefix(prefix): v for n, v in last.items() if n.startswith(prefix)}
    return validations, weights
