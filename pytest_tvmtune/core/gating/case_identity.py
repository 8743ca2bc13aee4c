"""The identity of baselines and golden outputs, and the names of their files."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The parts that make a baseline the baseline of a case.

    path: from the rootdir, with forward slashes. params: the user's own parametrization ids,
    without this plugin's and without xdist's `@group`.
    """

    path: str
    cls: str
    function: str
    params: str
    name: str
    entry: str
    target_name: str
    prepack: bool

    @property
    def file_name(self) -> str:
        """A readable slug of at most 80 characters and 12 hex digits of the SHA-256."""
        prepack = "prepack" if self.prepack else ""
        return f"{_file_stem(asdict(self), self.target_name, prepack)}.json"


def golden_identity(identity: Identity) -> dict[str, str]:
    """Return the identity of golden outputs, without the target and prepack of the case.

    path: only the name of the file, because golden outputs are kept in a folder next to it.
    """
    kept = asdict(identity)
    del kept["target_name"], kept["prepack"]
    return {**kept, "path": identity.path.rpartition("/")[2]}


def golden_file_name(identity: Identity) -> str:
    """Return the name of a case's golden outputs, made as a baseline's is."""
    return f"{_file_stem(golden_identity(identity))}.npz"


def _file_stem(identity: dict[str, Any], *more: str) -> str:
    parts = [
        identity["path"].rpartition("/")[2].removesuffix(".py"),
        *(identity[key] for key in ("cls", "function", "params", "name")),
        *more,
    ]
    text = "-".join(part for part in parts if part)
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:80]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{slug}-{digest[:12]}"


def default_name(function: str, path: str) -> str:
    """Return the name of a case without a given name: the function, without `test_`.

    If the function is called `test_`, this is the name of the file.
    """
    stem = path.rpartition("/")[2].removesuffix(".py")
    return function.removeprefix("test_") or stem.removeprefix("test_") or "test"
