"""An accepted baseline: which test it belongs to and which artifact was accepted."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1


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
        parts = [
            self.path.rpartition("/")[2].removesuffix(".py"),
            self.cls,
            self.function,
            self.params,
            self.name,
            self.target_name,
            "prepack" if self.prepack else "",
        ]
        text = "-".join(part for part in parts if part)
        slug = re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:80]
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{slug}-{digest[:12]}.json"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The accepted artifact of one case, with what it was when accepted.

    median_s, num_threads: advisory, never the cause of a failure; the artifact is run again.
    """

    identity: Identity
    artifact: str
    signature: dict[str, Any]
    target: str
    median_s: float
    num_threads: int
    fingerprint: dict[str, Any]
    accepted_at: str

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
            baseline = Baseline(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"damaged baseline: {error}") from None
        if problem := _problem(baseline):
            raise ValueError(f"damaged baseline: {problem}")
        return baseline


def _problem(baseline: Baseline) -> str:
    """Return which field was edited or damaged beyond use, "" when none was."""
    sound = {
        # It becomes part of a path.
        "artifact": isinstance(baseline.artifact, str)
        and re.fullmatch(r"[0-9a-f]{64}", baseline.artifact),
        "signature": isinstance(baseline.signature, dict),
        "target": isinstance(baseline.target, str) and baseline.target.startswith("{"),
        "median_s": isinstance(baseline.median_s, float) and 0 < baseline.median_s < math.inf,
        "num_threads": isinstance(baseline.num_threads, int),
        "fingerprint": isinstance(baseline.fingerprint, dict)
        and {"tvm", "tvm_ffi"} <= set(baseline.fingerprint),
    }
    return ", ".join(name for name, fine in sound.items() if not fine)
