"""A tiny data set in memory, its children, and the composition of their configuration."""

import functools
import math
import multiprocessing
import os
import signal
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nasrunner.compose.construct import construct
from nasrunner.compose.launch import in_shape_of
from nasrunner.core import DataError, Proposal
from nasrunner.data.tensors import TensorDataModule
from nasrunner.spaces.language.parsing import parse_space
from tests.toys import train_one

CONFIG = Path(__file__).parents[2] / "conf"
GROUPS = ("data", "task", "optimizer", "scheduler", "trainer")
MLP = {"concat": [{"affine": {"units": {"oneof": [8, 16]}}}, "relu", {"affine": {"units": 3}}]}
BLOBS = {
    "_target_": "tests.children.blobs.Blobs",
    "in_shape": [4],
    "num_outputs": 3,
    "batch_size": 16,
    "eval_batch_size": 30,
    "drop_last": False,
    "validation_examples": 45,
    "split_seed": 0,
    "is_regression": False,
    "path": None,
}
OWN = {
    "_target_": "tests.children.blobs.OwnBlobs",
    "in_shape": [4],
    "num_outputs": 3,
    "batch_size": 16,
    "is_regression": False,
}
IMAGES = {**BLOBS, "in_shape": [3, 6, 6]}

DIGITS = {
    "_target_": "nasrunner.data.digits.Digits",
    "in_shape": [1, 8, 8],
    "num_outputs": 10,
    "batch_size": 32,
    "eval_batch_size": 512,
    "drop_last": False,
    "validation_examples": 287,
    "split_seed": 0,
    "equal_inputs": "apart",
    "train_share": 1.0,
    "resolution": None,
    "test_examples": 360,
}
"""As ``data=digits`` is configured."""


class Batches:
    """Slices of two tensors, shuffled with torch's global generator where asked."""

    def __init__(self, x, y, batch_size, is_shuffled):
        self.x, self.y, self.batch_size, self.is_shuffled = x, y, batch_size, is_shuffled

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        rows = torch.randperm(len(self.x)) if self.is_shuffled else torch.arange(len(self.x))
        for part in rows.split(self.batch_size):
            yield self.x[part], self.y[part]


def clouds(in_shape, num_outputs, is_regression):
    """Three Gaussian clouds of vectors or images: inputs and targets of 135 examples."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(135) % 3
    centres = 3 * torch.randn(3, *in_shape, generator=generator)
    x = centres[y] + torch.randn(135, *in_shape, generator=generator)
    return x, centres[y][:, :num_outputs] if is_regression else y


@dataclass(kw_only=True, eq=False)
class Blobs(TensorDataModule):
    """The clouds in memory: 90 examples to train on, 45 to validate."""

    is_regression: bool
    path: str | None

    def prepare_data(self):
        if self.path is not None and not Path(self.path).exists():
            raise DataError(f"{self.path} is missing")

    def read_fit(self):
        return tuple(v.numpy() for v in clouds(self.in_shape, self.num_outputs, self.is_regression))

    def read_test(self):
        raise AssertionError("a search never tests")


class OwnBlobs(pl.LightningDataModule):
    """The clouds in loaders of a user's own, that Lightning knows nothing of."""

    def __init__(self, in_shape, num_outputs, batch_size, is_regression):
        super().__init__()
        self.in_shape, self.num_outputs = tuple(in_shape), num_outputs
        self.batch_size, self.is_regression = batch_size, is_regression

    def setup(self, stage):
        assert stage == "fit"
        x, targets = clouds(self.in_shape, self.num_outputs, self.is_regression)
        self.train, self.validation = (x[:90], targets[:90]), (x[90:], targets[90:])

    def train_dataloader(self):
        return Batches(*self.train, self.batch_size, is_shuffled=True)

    def val_dataloader(self):
        return Batches(*self.validation, 30, is_shuffled=False)


class SharedBlobs(OwnBlobs):
    """The same, of which a share is trained on; all where it is null."""

    def __init__(self, train_share=None, **arguments):
        super().__init__(**arguments)
        self.train_share = train_share

    def train_dataloader(self):
        kept = round(90 * (1.0 if self.train_share is None else self.train_share))
        return Batches(*(part[:kept] for part in self.train), self.batch_size, is_shuffled=True)


class LoaderBlobs(OwnBlobs):
    """The same, as a user would write it who knows DataLoader and the hooks of Lightning."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.num_set_up = 0

    def setup(self, stage):
        self.num_set_up += 1
        assert self.num_set_up == 1
        super().setup(stage)

    def train_dataloader(self):
        return DataLoader(TensorDataset(*self.train), self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(TensorDataset(*self.validation), 30)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return x + 1, y


class RandomBlobs(OwnBlobs):
    """Splits at random with torch's global generator, as users do."""

    def setup(self, stage):
        super().setup(stage)
        rows = torch.randperm(90)[:60]
        self.train = (self.train[0][rows], self.train[1][rows])


class Liar(OwnBlobs):
    """Has four outputs, whatever it is told."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.num_outputs = 4


class Broken(nn.Module):
    """Passes its input on until it is trained, and then does what it is told."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.num_steps = 0
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if self.training and x.device.type != "meta":
            self.num_steps += 1
            match self.how:
                case "nan in step 15":
                    return x * self.scale * (float("nan") if self.num_steps == 15 else 1.0)
                case "nan":
                    return x * self.scale * float("nan")
                case "raise":
                    raise RuntimeError("the user's module broke")
                case "memory":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
                case "exit":
                    raise SystemExit(3)
                case "base":
                    raise BaseException("the user's module raised it")
                case "generator":
                    raise GeneratorExit
                case "fork":
                    self.how = "nothing more"
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on
                        os.fork()
                case "warn":
                    warnings.warn("the user's module warns", stacklevel=1)
                case "interrupt":
                    interrupt()
                case "terminate":
                    interrupt(signal.SIGTERM)
                case "refuse autocast":
                    y = x * self.scale
                    y.register_hook(refuse_autocast)
                    assert torch.is_autocast_enabled("cpu")
                    return y
        return x * self.scale


class Ranked(nn.Module):
    """Passes its input on; on rank 1 it differs from rank 0's, or breaks while rank 0 hangs."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.is_second = os.environ.get("LOCAL_RANK") == "1"
        is_wider = how == "differ" and self.is_second
        self.scale = nn.Parameter(torch.ones(2 if is_wider else 1))

    def forward(self, x):
        if self.training and x.device.type != "meta" and self.how in ("raise", "hang"):
            if self.is_second:
                raise RuntimeError("the user's module broke on rank 1")
            if self.how == "hang":
                time.sleep(600)  # as a collective operation of GPUs would
        return x * self.scale[:1]


def refuse_autocast(gradient):
    """Fails where a backward pass runs under mixed precision."""
    assert not torch.is_autocast_enabled("cpu")


def interrupt(signum=signal.SIGINT):
    """Ctrl-C, or another signal."""
    os.kill(os.getpid(), signum)
    time.sleep(10)  # the signal's handler raises before this


class InterruptAtSetup(pl.Callback):
    """Ctrl-C before Lightning has put its signal handlers in place."""

    def setup(self, trainer, pl_module, stage):
        interrupt()


class TerminateAll(pl.Callback):
    """SIGTERM to this process and to those that load its data, as SLURM and shells send it."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        loaders = [str(process.pid) for process in multiprocessing.active_children()]
        assert loaders
        subprocess.run(["kill", str(os.getpid()), *loaders], check=True)
        time.sleep(10)  # torch raises before this


def broken(how):
    """A space of one network that breaks in training."""
    module = {"_target_": "tests.children.blobs.Broken", "how": how}
    return {"concat": [module, {"affine": {"units": 3}}]}


@functools.cache
def composed(*options):
    """The shipped YAML of some options, which is merged with others and is left as it is."""
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose(overrides=list(options))
    OmegaConf.set_struct(config, False)
    OmegaConf.set_readonly(config, True)
    return config


def configured(*overrides, space=MLP, data=BLOBS, task="classification", **groups):
    """The parsed space and the child's configuration from the shipped YAML and overrides."""
    names = {"task": task, "optimizer": "adam", "scheduler": "none", "trainer": "lightning"}
    chosen = composed(*(f"+{group}={name}" for group, name in (names | groups).items()))
    config = OmegaConf.merge(chosen, {"data": data}, OmegaConf.from_dotlist(list(overrides)))
    return parse_space(space), OmegaConf.to_container(config, resolve=True)


def make_trainer(
    *overrides,
    is_rehearsed=True,
    evaluation=None,
    objectives=(),
    max_memory_gb=None,
    **arguments,
):
    """A child trainer on one CPU device, three epochs unless overridden."""
    defaults = ("trainer.accelerator=cpu", "trainer.max_epochs=3", "optimizer.lr=0.01")
    space, config = configured(*defaults, *overrides, **arguments)
    trainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config={group: config[group] for group in GROUPS},
        in_shape=in_shape_of(config["data"]),
        construct=construct,
        draw=drawing,
        objectives=objectives,
        max_memory_gb=max_memory_gb,
        **({} if evaluation is None else {"evaluation": evaluation}),
    )
    if is_rehearsed:
        trainer.rehearsal()()
    return trainer


def drawing(space):
    return f"<svg>{space.text()}</svg>"


def train(folder, *overrides, genotype=None, seed=0, index=0, **arguments):
    """The outcome of one child; the first option of every decision unless told otherwise."""
    trainer = make_trainer(*overrides, **arguments)
    if genotype is None:
        genotype = trainer.space.walk(lambda decision: 0)
    return train_one(trainer.task(folder, seed), Proposal(index, genotype))


class Killed(SIGTERMException):
    """What a test interrupts a training with: no failure of the child."""


class Logs(pl.Callback):
    """Logs something of its own at each end, and once under a name that a child's metric has."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("of_batch", batch_idx)

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log_dict({"own": 10 * trainer.current_epoch, "train_loss": -1})
        if trainer.current_epoch == 0:
            pl_module.log("first", 1)

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("own_of_validation", 100 * trainer.current_epoch)


class ChangesAtEnd(pl.Callback):
    """Changes the weights when training ends, which are then validated once more."""

    def on_train_end(self, trainer, pl_module):
        for parameter in pl_module.network.parameters():
            parameter.data.mul_(0.5)


class LosesEpoch(pl.Callback):
    """Trains one epoch with weights that are no numbers, and has zeros validated after it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        self._fill(trainer, pl_module, math.nan)

    def on_validation_start(self, trainer, pl_module):
        self._fill(trainer, pl_module, 0.0)

    def _fill(self, trainer, module, value):
        if trainer.current_epoch == self.epoch:
            with torch.no_grad():
                for parameter in module.network.parameters():
                    parameter.fill_(value)


class StopOnce(pl.Callback):
    """Interrupts the training at the end of an epoch, where ``path`` does not exist yet."""

    def __init__(self, path, epoch):
        self.path, self.epoch = Path(path), epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch and not self.path.exists():
            self.path.touch()
            raise Killed
