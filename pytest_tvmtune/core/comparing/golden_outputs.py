"""Golden outputs: outputs that were computed once, reviewed, and committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_tvmtune.core.tensors.signature import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Outputs by path, with their case and data.

    identity: of the case, without its target and prepack. data_digest: SHA-256 of the parameters
    and inputs they were computed from.
    """

    identity: Mapping[str, str]
    data_digest: str
    outputs: Mapping[str, Array]
