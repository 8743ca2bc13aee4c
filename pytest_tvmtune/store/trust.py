"""What no tuning record may do: call functions from outside, or bring code along.

A record becomes native code. Its workload's IR and its trace are data from a file that others may
write, so both are looked at before TVM sees them. This is no sandbox (docs/files.md).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

# Operators of tvm.tirx that call a function by its name, or LLVM's assembler.
_EXTERNAL_OPS = re.compile(
    rb'"(?:tirx|tir)\.(call_extern|call_pure_extern|call_ffi_kernel|tvm_call_packed|'
    rb"tvm_call_packed_lowered|tvm_call_cpacked|tvm_call_cpacked_lowered|tvm_call_trace_packed|"
    rb'tvm_call_trace_packed_lowered|anylist_setitem_call_c?packed)"'
)
# Pragmas of tvm.tirx that compile the code in their value.
_CODE_PRAGMA = "pragma_import_"


def external_calls(ir: str) -> list[str]:
    """Return the operators in a workload's IR that call external functions, sorted.

    ir: MetaSchedule's serialisation, base64 of JSON behind a length. Raises ValueError when it
    isn't base64.
    """
    try:
        text = base64.b64decode(ir, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the IR is no base64: {error}") from None
    return sorted({found.decode() for found in _EXTERNAL_OPS.findall(text)})


def brings_code(trace: Any) -> bool:
    """Whether a trace annotates a schedule with code to compile."""
    if isinstance(trace, str):
        return trace.startswith(_CODE_PRAGMA)
    return isinstance(trace, list) and any(map(brings_code, trace))
