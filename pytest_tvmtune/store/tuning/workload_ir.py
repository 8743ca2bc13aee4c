"""The IR of a workload, as MetaSchedule writes it: base64 of TVM's JSON, behind a length."""

from __future__ import annotations

import base64
import binascii
import re

_VERSION = re.compile(r'"tvm_version":\s*"([^"]+)"')


def ir_text(ir: str) -> str:
    """Return the JSON of a workload's IR, with the length before it.

    Raises:
        ValueError: It is something else.
    """
    try:
        content = base64.b64decode(ir, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the IR is not base64: {error}") from None
    return content.decode("utf-8", errors="replace")


def has_free_layout(ir: str) -> bool:
    """Return whether schedules of a workload may change a weight's layout: it's prepacked.

    Raises:
        ValueError: It is something else.
    """
    return "layout_free_buffers" in ir_text(ir)


def version_of(ir: str) -> str:
    """Return the version of TVM that wrote a workload's IR, "" where it doesn't name one.

    Raises:
        ValueError: It is something else.
    """
    found = _VERSION.search(ir_text(ir))
    return found.group(1) if found else ""
