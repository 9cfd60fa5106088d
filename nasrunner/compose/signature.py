"""Signs what this user's studies write here, to tell it from what strangers may have written."""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

_MARK = "# signed: "
_CONFIG = b"a nasrunner study's config.yaml\n"
"""Part of what is signed, so that no file is taken for one of another kind."""

_SNAPSHOT = b"a nasrunner searcher's snapshot\n"


class KeyUnusableError(Exception):
    """There is no key, or others may know it; the message says which."""


def key_path() -> Path:
    """Returns where this user's key lies, as XDG says."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "nasrunner" / "key"


def signed(text: str) -> str:
    """Returns a configuration with its signature as the last line; as it is where no key can be
    kept.

    The user's first study makes the key.
    """
    with contextlib.suppress(OSError, RuntimeError, KeyUnusableError):
        _make_key()
        return f"{text}{_MARK}{_signature(text)}\n"
    return text


def why_not_own(text: str) -> str | None:
    """Returns why a configuration is not known to be one that this user wrote; None: it is."""
    body, mark, given = text.rpartition(_MARK)
    if not mark:
        return "it is not signed"
    try:
        expected = _signature(body)
    except (OSError, RuntimeError, KeyUnusableError) as error:
        return f"its signature cannot be checked: {error}"
    if hmac.compare_digest(given.strip().encode(), expected.encode()):
        return None
    return f"its signature is not made with {key_path()}, or it was changed"


def snapshot_signature(data: bytes) -> str | None:
    """Signs a searcher's snapshot; None where no key can be kept, or others may know it."""
    with contextlib.suppress(OSError, RuntimeError, KeyUnusableError):
        return hmac.new(_key(), _SNAPSHOT + data, hashlib.sha256).hexdigest()
    return None


def _signature(text: str) -> str:
    return hmac.new(_key(), _CONFIG + text.encode(), hashlib.sha256).hexdigest()


def _key() -> bytes:
    path = key_path()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            raise KeyUnusableError(f"others can read {path}: remove it, and the next study has one")
        key = file.read()
    if len(key) < 32:
        raise KeyUnusableError(f"{path} is damaged: remove it, and the next study has one")
    return key


def _make_key() -> None:
    """Makes the key where there is none; one of several studies that start at once makes it."""
    path = key_path()
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink()
