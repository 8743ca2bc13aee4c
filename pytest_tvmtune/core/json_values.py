"""Plain JSON values and back: what reports hold is read by later versions, too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def finite(value: Any) -> Any:
    """Return `value` with null for infinities and NaN, which JSON (RFC 8259) can't hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return value


def known_fields(cls: type, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataclass has fields for; a null in a field that is always a float is NaN.

    Hooks and other versions add keys of their own; those that are missing have defaults.
    """
    return {
        field.name: math.nan
        if loaded[field.name] is None and field.type == "float"
        else loaded[field.name]
        for field in fields(cls)
        if field.name in loaded
    }
