import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrunner.core import DataError
from nasrunner.data.ptb import Ptb, PtbFile, Unit, encoded, vocabulary
from tests.data.conftest import files_of

WORDS = b" the cat saw the dog \n no <unk> \n"
CHARACTERS = b"t h e _ c a t\nn o\n "


def ptb(root: Path, unit: Unit = "word", **changed: Any) -> Ptb:
    arguments: dict[str, Any] = {
        "in_shape": [35],
        "in_dtype": "int64",
        "num_outputs": 10000 if unit == "word" else 50,
        "batch_size": 20,
        "eval_batch_size": 10,
        "train_tokens": None,
        "validation_tokens": None,
        "root": str(root),
        "unit": unit,
    }
    return Ptb(**(arguments | changed))


def small(path: Path, content: bytes, unit: Unit = "word") -> PtbFile:
    path.write_bytes(content)
    return PtbFile(path, "0" * 32, "https://example.org", 2, unit)


def copied(root: Path, to: Path, **changed: bytes) -> Path:
    """The standard word files, unpacked, but for those that are changed."""
    for part in ("train", "valid", "test"):
        content = gzip.decompress((root / f"ptb.{part}.txt.gz").read_bytes())
        (to / f"ptb.{part}.txt").write_bytes(changed.get(part, content))
    return to


@pytest.mark.parametrize(
    ("content", "unit", "symbols"),
    [
        (WORDS, "word", "the cat saw the dog <eos> no <unk> <eos>"),
        (WORDS.rstrip(b"\n"), "word", "the cat saw the dog <eos> no <unk> <eos>"),
        (CHARACTERS, "character", "t h e _ c a t <eos> n o <eos>"),
    ],
)
def test_a_file_is_read_by_hand(content: bytes, unit: Unit, symbols: str, tmp_path: Path) -> None:
    assert small(tmp_path / "small", content, unit).load() == symbols.split()


def test_the_most_frequent_word_is_token_0_and_ties_are_in_alphabetical_order(
    tmp_path: Path,
) -> None:
    file = small(tmp_path / "small", WORDS)
    tokens = vocabulary(file.load())
    assert tokens == {"<eos>": 0, "the": 1, "<unk>": 2, "cat": 3, "dog": 4, "no": 5, "saw": 6}
    expected = [0, 1, 3, 6, 1, 4, 0, 5, 2, 0]  # after the end of a sentence before the text
    np.testing.assert_array_equal(encoded(file.load(), tokens, file), expected)


@pytest.mark.parametrize(
    ("content", "unit", "message"),
    [
        (b"one\n", "word", "data.root: .*small is damaged: it must have 2 lines, got 1"),
        (WORDS + b"three", "word", "data.root: .*small is damaged: it must have 2 lines, got 3"),
        (b"caf\xe9\n\n", "word", "data.root: .*small is .* must be UTF-8, got byte 0xe9 at 3"),
        (WORDS, "character", "each symbol must be one character, got '<unk>'"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(
    content: bytes, unit: Unit, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        small(tmp_path / "small", content, unit).verify()


def test_a_word_that_training_lacks_is_named_with_its_line_and_file(tmp_path: Path) -> None:
    train, valid = small(tmp_path / "train", WORDS), small(tmp_path / "valid", b"the\ncat sat\n")
    message = "data.root: .*valid has 'sat' in line 2, which the training file lacks"
    with pytest.raises(DataError, match=message):
        encoded(valid.load(), vocabulary(train.load()), valid)


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    message = (
        r"data.root: .*ptb.train.txt is missing. Expected md5: f26c4b92c5fdc7b3f8c7cdcb991d8420. "
        r"Get it from http://.*/simple-examples.tgz"
    )
    with pytest.raises(DataError, match=message):
        ptb(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("unit", "eval_batch_size", "counts"),
    [
        ("word", 10, (929_589, 73_760, 82_430)),
        pytest.param("character", 1, (5_017_482, 393_042, 442_423), marks=pytest.mark.slow),
    ],
)
def test_the_real_files_have_the_known_numbers_of_words_and_characters(
    unit: Unit, eval_batch_size: int, counts: tuple[int, int, int]
) -> None:
    module = ptb(files_of("ptb"), unit, batch_size=1, eval_batch_size=eval_batch_size)
    module.prepare_data()
    module.setup("test")
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    assert tuple(loader.y_BL.numel() for loader in loaders) == counts


def test_the_real_vocabulary_starts_with_the_known_counts() -> None:
    train, *_ = ptb(files_of("ptb")).files()
    symbols = train.load()
    assert list(vocabulary(symbols))[:5] == ["the", "<unk>", "<eos>", "N", "of"]
    found = [symbols.count(word) for word in ("the", "<unk>", "<eos>", "N", "of")]
    assert found == [50_770, 45_020, 42_068, 32_481, 24_400]


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("train", b"one line\n", "ptb.train.txt is damaged: it must have 42,068 lines, got 1"),
        ("valid", b"\n" * 3369, "ptb.valid.txt is damaged: it must have 3,370 lines, got 3,369"),
        ("test", b"\xff\xfe", "ptb.test.txt is damaged: it must be UTF-8, got byte 0xff at 0"),
        ("valid", b"a\n" * 3370, "ptb.valid.txt has another checksum, md5"),
    ],
)
def test_a_changed_file_is_refused_before_anything_is_trained(
    part: str, content: bytes, message: str, tmp_path: Path
) -> None:
    root = copied(files_of("ptb"), tmp_path, **{part: content})
    with pytest.raises(DataError, match=f"data.root: .*{message}"):
        ptb(root).prepare_data()


def test_unpacked_files_are_the_same_text(tmp_path: Path) -> None:
    packed = files_of("ptb")
    ptb(copied(packed, tmp_path)).prepare_data()
    (here, _), (there, _) = ptb(tmp_path).read_fit(), ptb(packed).read_fit()
    np.testing.assert_array_equal(here, there)


def test_a_search_does_not_open_the_test_file(tmp_path: Path) -> None:
    root = copied(files_of("ptb"), tmp_path)
    (root / "ptb.test.txt").unlink()
    module = ptb(root)
    module.setup("fit")
    assert len(module.val_dataloader()) == 211
    with pytest.raises(DataError, match=r"ptb.test.txt is missing"):
        module.setup("test")
