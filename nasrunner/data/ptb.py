"""Penn Treebank, the text that language models are compared on: as words, and as characters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.files import DataFile
from nasrunner.data.tokens import TokenDataModule

Unit = Literal["word", "character"]
"""What a token of a text is."""

SOURCE = "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz (folder data)"
END = "<eos>"
"""The token that ends every line; it is not in the files."""

_FILES: Mapping[Unit, Sequence[tuple[str, int, str]]] = {
    "word": (
        ("ptb.train.txt", 42068, "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
        ("ptb.valid.txt", 3370, "aa0affc06ff7c36e977d7cd49e3839bf"),
        ("ptb.test.txt", 3761, "8b80168b89c18661a38ef683c0dc3721"),
    ),
    "character": (
        ("ptb.char.train.txt", 42068, "874909f99060142f6b88cc74c34baaa2"),
        ("ptb.char.valid.txt", 3370, "9e0fe5bec2a8bf43fd686dc23d5ab8bb"),
        ("ptb.char.test.txt", 3761, "1f9a2d1afe00f76e8bfbe09a65439681"),
    ),
}
"""Name, lines and md5 of the training, validation and test file."""


@dataclass(frozen=True)
class PtbFile(DataFile):
    """A text file of one sentence a line, its words or characters separated by blanks.

    Attributes:
        num_lines: how many sentences it has. The files of characters end with a blank after the
            last of them, which is no sentence.
        unit: ``character``: every symbol is one character, and ``_`` stands for a blank.
    """

    num_lines: int
    unit: Unit

    def parse(self, content: bytes) -> list[str]:
        """Returns the symbols of all lines, with ``END`` after each line."""
        try:
            *lines, rest = content.decode().split("\n")
        except UnicodeDecodeError as error:
            byte = content[error.start]
            raise ValueError(f"it must be UTF-8, got byte {byte:#x} at {error.start:,}") from error
        if rest.strip():
            lines.append(rest)
        if len(lines) != self.num_lines:
            raise ValueError(f"it must have {self.num_lines:,} lines, got {len(lines):,}")
        symbols: list[str] = []
        for line in lines:
            symbols += line.split()
            symbols.append(END)
        longest = max(set(symbols) - {END}, key=len, default="")
        if self.unit == "character" and len(longest) > 1:
            raise ValueError(f"each symbol must be one character, got {longest!r}")
        return symbols

    def error(self, what: str) -> DataError:
        return DataError(f"data.root: {super().error(what)}")


@dataclass(kw_only=True, eq=False)
class Ptb(TokenDataModule):
    """Sentences of the Wall Street Journal: 929,589 words to learn from, of 10,000 different ones.

    Marcus et al. 1993, Computational Linguistics 19(2), in the form and split of Mikolov et al.
    2010, Interspeech: lower case, ``N`` for numbers, ``<unk>`` for rare words; 73,760 words for
    validation and 82,430 for the test, the end of each sentence among them. As characters the
    same text has 5,017,482, 393,042 and 442,423 of 50 kinds. The first word is predicted from the
    end of a sentence, so that every word of the text is a target.

    The vocabulary is that of the whole training file, whatever ``train_tokens`` is; the most
    frequent word is token 0.

    Args:
        root: folder of ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``, or of
            ``ptb.char.train.txt`` and its two companions; plain or ``.gz``.
        unit: ``word`` or ``character``.
    """

    root: str
    unit: Unit

    def files(self) -> list[PtbFile]:
        return [
            PtbFile(Path(self.root) / name, md5, SOURCE, num_lines, self.unit)
            for name, num_lines, md5 in _FILES[self.unit]
        ]

    def read_fit(self) -> tuple[np.ndarray, np.ndarray]:
        train, validation, _ = self.files()
        symbols = train.load()
        tokens = vocabulary(symbols)
        return encoded(symbols, tokens, train), encoded(validation.load(), tokens, validation)

    def read_test(self) -> np.ndarray:
        train, _, test = self.files()
        return encoded(test.load(), vocabulary(train.load()), test)


def vocabulary(symbols: Sequence[str]) -> dict[str, int]:
    """Returns the token of each symbol: 0 for the most frequent, in alphabetical order where they
    tie.
    """
    counts = Counter(symbols)
    ordered = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return {symbol: token for token, symbol in enumerate(ordered)}


def encoded(symbols: Sequence[str], tokens: Mapping[str, int], file: DataFile) -> np.ndarray:
    """Returns the tokens of a part, after the end of a sentence that precedes it: (N + 1,).

    Raises:
        DataError: the training file does not have a symbol; names it, its line and the file.
    """
    found = np.empty(len(symbols) + 1, np.int64)
    found[0] = tokens[END]
    try:
        found[1:] = np.fromiter(map(tokens.__getitem__, symbols), np.int64, len(symbols))
    except KeyError as error:
        symbol = error.args[0]
        line = symbols[: symbols.index(symbol)].count(END) + 1
        raise file.error(
            f"has {symbol!r} in line {line:,}, which the training file lacks"
        ) from error
    return found
