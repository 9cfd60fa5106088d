"""The task of language models: the next token at every step of a text."""

import math
from typing import Literal

import torch
from torch.nn import functional

from nasrunner.children.tasks.metrics import Metrics
from nasrunner.children.tasks.reward import Mode, Reward
from nasrunner.children.tasks.tasks import Classification, Task, are_within
from nasrunner.core import InShape, Shape

# B = streams, T = steps of a batch, V = size of the vocabulary


class LanguageModel(Task):
    """Which of V tokens comes next: cross entropy of V logits at every step, in nats a token.

    Beside the loss every pass logs the perplexity, exp(loss), and for characters the bits per
    character, loss / ln 2: both of the mean over all tokens of the pass, not of its batches. A
    perplexity that float32 does not hold is logged as its largest number.

    Args:
        unit: what a token is: ``word`` or ``character``.
        metrics: as of classification, with each step as an example.
    """

    metric_classes = Classification.metric_classes
    is_of_steps = True
    outputs = "logits of the token that follows, at every step"

    @classmethod
    def out_shape(cls, num_outputs: int, in_shape: InShape) -> Shape:
        assert isinstance(in_shape, tuple), "tokens are the one input"
        return (*in_shape, num_outputs)

    def __init__(
        self,
        *,
        num_outputs: int,
        unit: Literal["word", "character"],
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.unit = unit
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def loss(self, predicted_BTV: torch.Tensor, target_BT: torch.Tensor) -> torch.Tensor:
        if predicted_BTV.shape[:-1] != target_BT.shape:
            raise ValueError(
                f"the network's outputs are {tuple(predicted_BTV.shape)} but the targets are "
                f"{tuple(target_BT.shape)}; each step needs data.num_outputs logits"
            )
        return functional.cross_entropy(predicted_BTV.flatten(0, 1), target_BT.flatten())

    def measured(
        self, predicted_BTV: torch.Tensor, target_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return predicted_BTV.flatten(0, 1), target_BT.flatten()

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        return measured.softmax(dim=1)

    def needs(self) -> str:
        return f"tokens int64 (batch, steps) from 0 to {self.num_outputs - 1}"

    def takes(self, target_BT: torch.Tensor) -> bool:
        is_tokens = target_BT.dtype == torch.int64 and target_BT.ndim == 2
        return is_tokens and are_within(target_BT, self.num_outputs)

    def num_targets(self, target_BT: torch.Tensor) -> int:
        return target_BT.numel()

    def following(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {"perplexity": loss.exp().clamp(max=torch.finfo(torch.float32).max)}
        if self.unit == "character":
            found["bits_per_character"] = loss / math.log(2)
        return found

    def by_chance(self, name: str) -> float | None:
        loss = math.log(self.num_outputs)
        following = self.following(torch.tensor(loss, dtype=torch.float64))
        of_loss = {"loss": loss} | {each: value.item() for each, value in following.items()}
        return of_loss.get(name.removeprefix("val_"))

    def mode_of(self, name: str) -> Mode | None:
        is_of_loss = name.removeprefix("val_") in self.following(torch.zeros(()))
        return "min" if is_of_loss else super().mode_of(name)

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BT = torch.arange(2 * size).view(size, 2) % self.num_outputs
        return functional.one_hot(target_BT, self.num_outputs).float(), target_BT
