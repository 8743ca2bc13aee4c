"""What names files in the store: SHA-256 as 64 hex digits."""

from __future__ import annotations

import re

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(value: object) -> bool:
    """Whether a value, perhaps from an edited file, may become part of a path."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
