"""Signatures on files that become native code: manifests, builds, tuning files, baselines.

With a key in the environment variable TVMTUNE_KEY, this store signs the files that it writes, and
doesn't use files that are unsigned or wrongly signed. Without a key, it signs nothing and asks for
no signature.
Source: HMAC-SHA256, RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any

KEY_VARIABLE = "TVMTUNE_KEY"
_FIELD = "hmac"


def signing_key() -> bytes | None:
    """Return the key, None where there is none."""
    # Its bytes, whatever they are: a random key is no UTF-8.
    return os.fsencode(os.environ.get(KEY_VARIABLE, "")) or None


def signature(what: str, content: bytes) -> str | None:
    """Return the signature of some content, None without a key.

    Args:
        what: Its kind and name, so that no file can be put in the place of another.
        content: The bytes to sign.
    """
    key = signing_key()
    if key is None:
        return None
    return hmac.new(key, what.encode() + b"\n" + content, hashlib.sha256).hexdigest()


def verify(what: str, content: bytes, given: object) -> None:
    """Raise ValueError when there is a key and `given` isn't this content's signature."""
    wanted = signature(what, content)
    if wanted is None:
        return
    if given is None:
        raise ValueError(f"not signed, although {KEY_VARIABLE} is set")
    # As bytes: of text it compares nothing but ASCII, and raises TypeError.
    if not hmac.compare_digest(wanted.encode(), str(given).encode("utf-8", "surrogatepass")):
        raise ValueError(
            f"signed with another key than {KEY_VARIABLE}, or changed after it was signed"
        )


def sign_json(what: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values with their signature among them, where there is a key."""
    signed = signature(what, _canonical(values))
    return values if signed is None else {**values, _FIELD: signed}


def verified_json(what: str, loaded: Any) -> Any:
    """Return JSON values without their signature. Raises ValueError when that is wrong."""
    if not isinstance(loaded, dict):
        return loaded
    values = without_signature(loaded)
    verify(what, _canonical(values), loaded.get(_FIELD))
    return values


def without_signature(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values without their signature, unchecked."""
    return {name: value for name, value in values.items() if name != _FIELD}


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True).encode()
