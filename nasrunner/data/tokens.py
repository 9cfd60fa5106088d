"""The base of every text: tokens kept in memory, and read in streams for language models."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from nasrunner.core.annotations import Count, Within
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.data.files import DataFile, check_files
from nasrunner.data.loader import Batch
from nasrunner.data.tensor_cache import cached, device_of, identity_of

# N = number of targets, V = size of the vocabulary
# B = streams, L = targets of a stream, T = steps of a batch

_BATCHING = ("in_shape", "batch_size", "eval_batch_size")
"""Arguments that the tokens do not depend on."""


class StreamLoader:
    """Cuts a text into streams of the same length and yields them side by side, T steps at a time.

    Row b of a batch goes on where row b of the batch before ended, so that a network that keeps
    its state between batches reads each stream in order; nothing is shuffled. Mikolov et al. 2010
    and Zaremba et al. 2014 (arXiv:1409.2329) train like this.

    Each target is one of exactly one batch, but for the last N mod B of the text, which no stream
    has: fewer than one a stream. Where T does not divide L, the last batch has fewer steps. The
    first token of a stream is predicted from the token before it, but without what came earlier.

    Args:
        tokens: (N + 1,): the targets are all but the first token, the inputs all but the last.
        batch_size: streams, >= 1.
        num_steps: steps a batch, >= 1.
        is_shuffled: whether the batches come in an order that each pass draws from torch's global
            CPU generator, without a last one of fewer steps that is not the only one: for a network
            that keeps nothing between batches.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        batch_size: int,
        num_steps: int,
        *,
        is_shuffled: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.is_shuffled = is_shuffled
        length = (len(tokens) - 1) // batch_size
        num_used = batch_size * length
        self.x_BL = tokens[:num_used].view(batch_size, length)
        self.y_BL = tokens[1 : num_used + 1].view(batch_size, length)

    def __len__(self) -> int:
        """Batches a pass."""
        whole, rest = divmod(self.x_BL.shape[1], self.num_steps)
        is_last_used = rest > 0 and not (self.is_shuffled and whole)
        return whole + is_last_used

    def __iter__(self) -> Iterator[Batch]:
        if len(self) == 0:  # torch splits empty streams into one empty batch
            return
        parts = (torch.split(each, self.num_steps, dim=1) for each in (self.x_BL, self.y_BL))
        batches = list(zip(*parts, strict=True))
        if self.is_shuffled:
            order = torch.randperm(len(self)).tolist()
            batches = [batches[place] for place in order]
        yield from batches


@dataclass(kw_only=True, eq=False)
class TokenDataModule(pl.LightningDataModule, ABC):
    """Keeps a text in memory as tokens, the indices of its words, and serves streams of them.

    A text of your own is one class and one YAML with its dotted path as ``_target_``::

        @dataclass(kw_only=True, eq=False)
        class Primes(TokenDataModule):
            \"\"\"Digits of the prime numbers: in_shape [35], in_dtype int64, num_outputs 10.\"\"\"

            def read_fit(self) -> tuple[np.ndarray, np.ndarray]:
                return digits_of_primes(0, 10_000), digits_of_primes(10_000, 11_000)

            def read_test(self) -> np.ndarray:
                return digits_of_primes(11_000, 12_000)

    A batch is inputs and targets, both (batch_size, T) of int64, the targets one token ahead; see
    ``StreamLoader`` for how batches follow one another and which targets are left out. Tokens are
    made once a process, shared by data modules that differ in batching only, and moved once to the
    device of the trainer.

    Args:
        in_shape: (T,), the steps of truncated back-propagation through time.
        in_dtype: ``int64``: the inputs are tokens, and a network predicts one at each step.
        num_outputs: V; the training part has the tokens 0 to V - 1.
        batch_size: streams that training reads side by side.
        eval_batch_size: streams of a validation or test pass; 1 counts every target and never
            forgets what came before.
        train_tokens: targets of the training part that are used, from its start; None: all.
        validation_tokens: the same of the validation part.
        train_share: the share of these training targets that is kept, from the start; all where
            the validation text follows them.

    Raises:
        ConfigError: an argument is out of its range.
    """

    in_shape: Sequence[Count]
    in_dtype: Literal["int64"]
    num_outputs: Count
    batch_size: Count
    eval_batch_size: Count
    train_tokens: Count | None
    validation_tokens: Count | None
    train_share: Annotated[float, Within("(0, 1]")] = 1.0  # your own YAML need not say it

    needs_one_device: ClassVar[bool] = True
    """A batch goes on where the one before ended: no part of it can be another device's."""

    def __post_init__(self) -> None:
        super().__init__()
        self._fit: tuple[torch.Tensor, torch.Tensor] | None = None
        self._test: torch.Tensor | None = None
        self._is_joined = False
        if len(self.in_shape) != 1:
            raise ConfigError(
                f"data.in_shape must be [T], the steps of a batch, got {list(self.in_shape)}"
            )

    @abstractmethod
    def read_fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the training and the validation part, (N + 1,) of tokens each.

        The first token of a part is an input only: its N targets are the others.

        Raises:
            DataError: a file is missing or damaged.
        """

    @abstractmethod
    def read_test(self) -> np.ndarray:
        """Returns the test part, (N + 1,) of tokens. Only ``setup("test")`` calls it."""

    def files(self) -> Sequence[DataFile]:
        """Returns the files that the text is read from."""
        return ()

    def prepare_data(self) -> None:
        """Checks every file, and that training and validation have what ``setup`` needs of them.

        Raises:
            DataError: a file is missing, damaged, or another one than expected, or does not hold
                ``num_outputs`` tokens.
            ConfigError: there are fewer tokens than a batch or ``train_tokens`` ask for.
        """
        check_files(self.files())
        self._read_parts()

    def join_validation(self) -> None:
        """Makes the validation text follow the training text; called before ``setup``.

        Then the validation part is empty: for training a network that was chosen before, once
        more, on all there is but the test.
        """
        self._is_joined = True

    def setup(self, stage: str) -> None:
        """Loads training and validation tokens, and for ``test`` those of the test as well.

        Raises:
            DataError: as of ``prepare_data``.
            ConfigError: as of ``prepare_data``.
        """
        device = device_of(self)
        train, validation = self._read_parts()
        self._fit = self._cached(
            f"fit on {device}", lambda: (train.to(device), validation.to(device))
        )
        if stage == "test":
            test = self._cached("test", lambda: _tokens(self.read_test()))
            self._check_batch("eval_batch_size", "test", test)
            self._test = self._cached(f"test on {device}", lambda: test.to(device))

    def train_dataloader(self) -> StreamLoader:
        assert self._fit is not None
        return StreamLoader(self._fit[0], self.batch_size, self.in_shape[0])

    def val_dataloader(self) -> StreamLoader:
        assert self._fit is not None
        return StreamLoader(self._fit[1], self.eval_batch_size, self.in_shape[0])

    def shuffled_validation(self, *, augmented: bool) -> StreamLoader:
        """Batches of the validation text in a new order each time.

        They have as many streams as training's, or ``eval_batch_size`` where the text is too short.

        Args:
            augmented: changes nothing: those of training are texts as they are.
        """
        assert self._fit is not None
        text, num_steps = self._fit[1], self.in_shape[0]
        is_enough = len(text) - 1 >= self.batch_size * num_steps
        num_streams = self.batch_size if is_enough else self.eval_batch_size
        return StreamLoader(text, num_streams, num_steps, is_shuffled=True)

    def test_dataloader(self) -> StreamLoader:
        assert self._test is not None
        return StreamLoader(self._test, self.eval_batch_size, self.in_shape[0])

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leaves the batch where it is: the tokens it was cut from are on the device."""
        return batch

    def _cached(self, stage: str, load: Any) -> Any:
        return cached((*identity_of(self, _BATCHING), self._is_joined), stage, load)

    def _read_parts(self) -> tuple[torch.Tensor, torch.Tensor]:
        train, validation = self._cached("fit", self._load_fit)
        self._check_batch("batch_size", "training", train)
        if not self._is_joined:
            self._check_batch("eval_batch_size", "validation", validation)
        return train, validation

    def _load_fit(self) -> tuple[torch.Tensor, torch.Tensor]:
        train, validation = self.read_fit()
        if (num_outputs := int(train.max()) + 1) != self.num_outputs:
            raise DataError(
                f"data.num_outputs must be {num_outputs}, the size of the vocabulary of "
                f"{type(self).__name__}, got {self.num_outputs}"
            )
        train = _shortened("train_tokens", train, self.train_tokens)
        validation = _shortened("validation_tokens", validation, self.validation_tokens)
        if self.train_share < 1 and not self._is_joined:
            train = train[: max(1, round(self.train_share * (len(train) - 1))) + 1]
        if self._is_joined:
            train, validation = np.concatenate([train, validation[1:]]), validation[:1]
        return _tokens(train), _tokens(validation)

    def _check_batch(self, key: str, part: str, tokens: torch.Tensor) -> None:
        num_streams, num_targets = getattr(self, key), len(tokens) - 1
        if (needed := num_streams * self.in_shape[0]) > num_targets:
            raise ConfigError(
                f"data.{key}={num_streams} streams of data.in_shape={list(self.in_shape)} steps "
                f"need {needed:,} tokens, but the {part} part has {num_targets:,}"
            )


def _shortened(name: str, tokens: np.ndarray, num_targets: int | None) -> np.ndarray:
    """The first tokens of a part, as many targets as a setting asks for."""
    if num_targets is None:
        return tokens
    if num_targets >= len(tokens):
        raise ConfigError(
            f"data.{name} must be null or at most {len(tokens) - 1:,}, the tokens there are, got "
            f"{num_targets:,}"
        )
    return tokens[: num_targets + 1]


def _tokens(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))
