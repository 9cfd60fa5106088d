"""A made-up text for language models, and a recurrent layer that says what it is told."""

from typing import ClassVar

import torch
from torch import nn

from tests.children.blobs import make_trainer

TEXT = {
    "_target_": "tests.data.texts.Numbers",
    "in_shape": [7],
    "in_dtype": "int64",
    "num_outputs": 10,
    "batch_size": 4,  # streams of 75 targets: ten batches of 7 steps and one of 5
    "eval_batch_size": 2,  # streams of 30 targets: four batches of 7 steps and one of 2
    "train_tokens": None,
    "validation_tokens": None,
    "log": None,
    "unit": "character",
}


class Memory(nn.Module):
    """h_t = tanh(W x_t + U h_{t-1}), begun with the h that the last call ended with."""

    told: ClassVar[list] = []
    """Shapes of batches, with whether they are trained on, and ``reset``."""

    def __init__(self, units):
        super().__init__()
        self.of_input, self.of_state = nn.Linear(units, units), nn.Linear(units, units)
        self.state = None

    def reset_state(self):
        self.told.append("reset")
        self.state = None

    def forward(self, x_BTI):
        if x_BTI.device.type != "meta":
            self.told.append((self.training, *x_BTI.shape[:2]))
        h_BI = torch.zeros_like(x_BTI[:, 0])
        if self.state is not None and self.state.shape == h_BI.shape:
            h_BI = self.state
        outputs = []
        for x_BI in x_BTI.unbind(1):
            h_BI = torch.tanh(self.of_input(x_BI) + self.of_state(h_BI))
            outputs.append(h_BI)
        self.state = h_BI.detach()
        return torch.stack(outputs, dim=1)


def model(dropout=0.0):
    """The space of one language model whose layer is ``Memory``."""
    memory = {"_target_": "tests.children.texts.Memory", "units": 8}
    body = {"concat": [memory, {"dropout": {"p": dropout}}]}
    return {"language_model": {"vocabulary": 10, "units": 8, "tied": False, "body": body}}


def text_trainer(*overrides, data=None, **arguments):
    """A child trainer of language models, two epochs unless overridden."""
    given = {"space": model(), "task": "language_model"} | arguments
    return make_trainer("trainer.max_epochs=2", *overrides, data=TEXT | (data or {}), **given)


def first_network(trainer):
    """The network of every decision's first option."""
    frozen = trainer.space.freeze(trainer.space.walk(lambda decision: 0))
    return frozen.build(trainer.in_shape)[0]
