"""Which instructions a library may use, and which this machine has: known before it is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pytest_tvmtune.relax import compat

# Of LLVM's features those that put instructions into ordinary code; others tune it (`fast-...`),
# or are for kernels and key stores.
_INSTRUCTIONS = re.compile(
    r"(s?sse|avx|fma|f16c|bmi|lzcnt|popcnt|v?aes|v?pclmul|gfni|sha\b|amx|adx|movbe|xop|tbm"
    r"|neon|sve|sme|dotprod|fullfp16|bf16|i8mm|lse)[\w.-]*"
)
# Those that Linux doesn't list: of them LLVM's word counts, by the CPU's model.
_UNLISTED = re.compile(
    r"amx-(avx512|complex|fp16|fp8|movrs|tf32)|avx(ifma|neconvert|vnniint8|vnniint16|10\.\d)"
)
# LLVM's names -> Linux's, where more than a sign between differs.
_LINUX = {
    "bmi": "bmi1",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "sha": "sha_ni",
    "sse3": "pni",
}

# What makes a target with `mcpu` faster than a bare one, dearest last.
_VECTORS = ("avx", "avx2", "fma", "avxvnni", "avx512f", "avx512vnni", "avx512bf16", "amx-int8",
            "neon", "dotprod", "i8mm", "bf16", "sve")  # fmt: skip


def vector_features() -> tuple[str, list[str]]:
    """Return LLVM's name of this CPU, and which vector instructions it then uses."""
    cpu = str(compat.llvm_get_system_cpu())
    own = set(map(str, compat.llvm_get_cpu_features(compat.Target({"kind": "llvm", "mcpu": cpu}))))
    return cpu, [name for name in _VECTORS if name in own]


def unused_features(target_json: str) -> list[str]:
    """Return this machine's vector instructions that code for a generic x86 target doesn't use.

    Empty for a target that names a CPU or its features, and where `host` wouldn't use AVX2.
    """
    target = compat.Target(target_json)
    is_x86 = str(target.attrs.get("mtriple", "x86_64")).startswith("x86_64")
    names_cpu = any(name in target.attrs for name in ("mcpu", "mattr"))
    if str(target.kind.name) != "llvm" or names_cpu or not is_x86:
        return []
    cpu, names = vector_features()
    used = set(map(str, compat.llvm_get_cpu_features(target)))
    # What the system hides of its CPU can't be used.
    hidden = lacking_features(json.dumps({"kind": "llvm", "mcpu": cpu}))
    unused = [name for name in names if name not in {*used, *hidden}]
    return unused if "avx2" in unused else []


def lacking_features(target_json: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return what code for a target may use and this machine's CPU lacks, sorted.

    Empty for targets other than `llvm`. LLVM derives a CPU's features from its model. If Linux
    lists fewer, for example because a virtual machine hides some, the list of Linux counts.
    """
    target = compat.Target(target_json)
    if str(target.kind.name) != "llvm":
        return []
    wanted = {str(name) for name in compat.llvm_get_cpu_features(target)}
    host = compat.Target({"kind": "llvm", "mcpu": str(compat.llvm_get_system_cpu())})
    own = {str(name) for name in compat.llvm_get_cpu_features(host)}
    listed = _listed(cpuinfo)

    def is_there(name: str) -> bool:
        if not listed or _UNLISTED.fullmatch(name):
            return name in own
        return _plain(_LINUX.get(name, name)) in listed

    return sorted(name for name in wanted if _INSTRUCTIONS.fullmatch(name) and not is_there(name))


def _listed(cpuinfo: Path) -> set[str]:
    """Return the features that Linux lists on an x86 machine, none elsewhere."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return {_plain(flag) for flag in flags.split()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
