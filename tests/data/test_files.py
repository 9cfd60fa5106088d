import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from nasrunner.core import DataError
from nasrunner.data.files import DataFile

MD5 = hashlib.md5(b"content").hexdigest()
SOURCE = "https://example.org/set"


@dataclass(frozen=True)
class TextFile(DataFile):
    def parse(self, content: bytes) -> str:
        if not content.startswith(b"c"):
            raise ValueError(f"it must start with a c, got {content!r}")
        return content.decode()


class LenientFile(TextFile):
    must_match: ClassVar[bool] = False


def test_a_plain_and_a_packed_file_are_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"content")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"content"))
    for name in ("plain", "packed"):
        file = TextFile(tmp_path / name, MD5, SOURCE)
        assert file.verify() == MD5
        assert file.load() == "content"


def test_a_missing_file_is_named_with_its_checksum_and_where_to_get_it(tmp_path: Path) -> None:
    file = TextFile(tmp_path / "absent", MD5, SOURCE)
    message = f"{tmp_path}/absent is missing. Expected md5: {MD5}. Get it from {SOURCE}"
    with pytest.raises(DataError, match=message):
        file.verify()
    with pytest.raises(DataError, match=message):
        file.load()


@pytest.mark.parametrize("length", [0, 5, 15, 25])
def test_a_packed_file_that_is_cut_off_is_damaged(length: int, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"content")[:length])
    with pytest.raises(DataError, match=rf"cut is damaged: .*Expected md5: {MD5}"):
        TextFile(tmp_path / "cut", MD5, SOURCE).verify()


def test_what_is_no_gzip_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "html.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"html is damaged: html.gz: Not a gzipped file"):
        TextFile(tmp_path / "html", MD5, SOURCE).verify()


def test_another_form_is_said_before_another_checksum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(DataError, match="file is damaged: it must start with a c, got b'other'"):
        TextFile(tmp_path / "file", MD5, SOURCE).verify()


def test_another_checksum_is_refused_unless_the_file_may_differ(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"changed")
    md5 = hashlib.md5(b"changed").hexdigest()
    with pytest.raises(DataError, match=f"file has another checksum, md5 {md5}. Expected .*{MD5}"):
        TextFile(tmp_path / "file", MD5, SOURCE).verify()
    assert LenientFile(tmp_path / "file", MD5, SOURCE).verify() == md5


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read = TextFile._read

    def counted(file: TextFile) -> bytes:
        reads.append(file.path)
        return read(file)

    monkeypatch.setattr(TextFile, "_read", counted)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for _ in range(3):
        TextFile(path, MD5, SOURCE).verify()
    assert reads == [path]
    path.write_bytes(b"cut")
    with pytest.raises(DataError, match="another checksum"):
        TextFile(path, MD5, SOURCE).verify()
    assert reads == [path, path]
