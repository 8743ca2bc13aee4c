"""An accepted baseline: which test it belongs to and which artifact was accepted."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pytest_tvmtune.core.digests import is_sha256

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What makes a baseline the baseline of one case.

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
    """Return what makes golden outputs those of a case: not its target, not its prepack.

    path: only the file's name, since they are kept in a folder beside it.
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
    """Return what a case is called whose test gives it no name: the function, without `test_`.

    Of a function called `test_` only its file is left: the name of that.
    """
    stem = path.rpartition("/")[2].removesuffix(".py")
    return function.removeprefix("test_") or stem.removeprefix("test_") or "test"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The accepted artifact of one case, with what it was when accepted.

    artifact, untuned: SHA-256 of the accepted library, and of the same module without records.
    samples_s: seconds per call when accepted, on the machine and with the versions in
    `fingerprint`: advisory, never the cause of a failure; the artifact is run again.
    """

    identity: Identity
    artifact: str
    untuned: str
    signature: dict[str, Any]
    target: str
    samples_s: tuple[float, ...]
    num_threads: int
    fingerprint: dict[str, Any]
    accepted_at: str

    @property
    def libraries(self) -> tuple[str, str]:
        """The SHA-256 of every library it needs."""
        return self.artifact, self.untuned

    @property
    def median_s(self) -> float:
        """Seconds per call when accepted."""
        return median(self.samples_s)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"schema": SCHEMA, **asdict(self)}

    @staticmethod
    def from_json(loaded: Any) -> Baseline:
        """Return the baseline written by `to_json`. Raises ValueError when it isn't one."""
        if not isinstance(loaded, dict) or loaded.get("schema") != SCHEMA:
            raise ValueError(f"not a baseline of schema {SCHEMA}")
        values = {key: value for key, value in loaded.items() if key != "schema"}
        try:
            values["identity"] = Identity(**values["identity"])
            values["samples_s"] = tuple(values["samples_s"])
            baseline = Baseline(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"damaged baseline: {type(error).__name__}: {error}") from None
        if problem := _problem(baseline):
            raise ValueError(f"damaged baseline: {problem}")
        return baseline


def _problem(baseline: Baseline) -> str:
    """Return which field was edited or damaged beyond use, "" when none was."""
    identity = asdict(baseline.identity)
    prepack = identity.pop("prepack")
    sound = {
        "identity": isinstance(prepack, bool)
        and all(isinstance(value, str) for value in identity.values()),
        "artifact": is_sha256(baseline.artifact),
        "untuned": is_sha256(baseline.untuned),
        "signature": isinstance(baseline.signature, dict),
        "target": isinstance(baseline.target, str) and baseline.target.startswith("{"),
        "samples_s": baseline.samples_s
        and all(type(s) in (int, float) and 0 < s < math.inf for s in baseline.samples_s),
        "num_threads": type(baseline.num_threads) is int and baseline.num_threads > 0,
        "accepted_at": isinstance(baseline.accepted_at, str),
        "fingerprint": isinstance(baseline.fingerprint, dict)
        and {"cpu", "tvm", "tvm_ffi"} <= set(baseline.fingerprint),
    }
    return ", ".join(name for name, fine in sound.items() if not fine)
