"""What no tuning record may do: call functions from outside, or bring code along.

A record becomes native code. Its workload's IR and its trace are data from a file that others may
write, so both are looked at before TVM sees them. This is no sandbox (docs/reference/files.md).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from pytest_tvmtune.store.tuning.workload_ir import ir_text

# Operators of tvm.tirx that call a function by its name or bring its source, and pragmas that
# compile the code in their value.
_OUTSIDE = re.compile(
    r"(?:tirx|tir)\.(?:cuda\.)?(call_extern|call_pure_extern|call_ffi_kernel|func_call|"
    r"tvm_call_packed|tvm_call_packed_lowered|tvm_call_cpacked|tvm_call_cpacked_lowered|"
    r"tvm_call_trace_packed|tvm_call_trace_packed_lowered|anylist_setitem_call_c?packed)(?=\W)"
    r"|(pragma_import_\w+)"
)
# One of these stands in whatever the pattern finds; looking for them is ten times as fast.
_HINTS = ("_extern", "_kernel", "func_call", "packed", "pragma_import_")
_ESCAPE = re.compile(r"\\+u[0-9a-fA-F]{4}")


@lru_cache(maxsize=4)
def external_calls(ir: str) -> tuple[str, ...]:
    """Return what in a workload's IR calls or imports code from outside, sorted.

    Args:
        ir: MetaSchedule's serialization, base64 of JSON behind a length.

    Raises:
        ValueError: It is something else.
    """
    text = ir_text(ir)
    if "\\u" in text:
        # Rare, and the one way to spell a name so that the pattern misses it.
        text = json.dumps(json.loads(text[text.index("{") :]), ensure_ascii=False)
    return tuple(_found(text))


def brings_code(trace: Any, text: str | None = None) -> bool:
    """Whether a trace calls functions from outside, or has code to compile.

    Args:
        trace: MetaSchedule's, as JSON values.
        text: The JSON it was read from, where that is at hand.
    """
    if text is None or "\\u" in text:
        # Written anew, so that no escape hides it; one within a text in the text would.
        text = json.dumps(trace, ensure_ascii=False)
    return bool(_found(text)) or ("\\u" in text and bool(_ESCAPE.search(text)))


def _found(text: str) -> list[str]:
    if not any(hint in text for hint in _HINTS):
        return []
    return sorted({operator or pragma for operator, pragma in _OUTSIDE.findall(text)})
