"""Keeps passwords out of what is shown and written down."""

import re
from collections.abc import Mapping
from typing import Any

# Also one whose own special characters damage the address; what looks like a port is none.
_AFTER_USER = re.compile(r"(//[^:/@\s]*):(?!\d+(?:[/?#\s]|$))(?:(?!//)[^\s'\",])*@")
_IN_QUERY = re.compile(r"([?&](?:password|passwd|pwd)=)[^&\s]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """Leaves out passwords: ``//user:password@host`` becomes ``//user@host``."""
    return _IN_QUERY.sub(r"\1", _AFTER_USER.sub(r"\1@", text))


def without_passwords(value: Any) -> Any:
    """Returns a configuration for everybody to read: the same of every text in it."""
    if isinstance(value, Mapping):
        return {key: without_passwords(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(inside) for inside in value]
    return without_password(value) if isinstance(value, str) else value
