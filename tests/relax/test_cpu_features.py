"""What a library's target may use and a CPU lacks, told from LLVM's and Linux's lists."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from tvm.target import codegen

from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.relax.devices.cpu_features import (
    lacking_features,
    unused_features,
    vector_features,
)
from pytest_tvmtune.relax.devices.targets import canonical, resolve_target

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="LLVM compares with this CPU")
# The flags of real machines, as Linux 6 lists them.
HASWELL = """
fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2
ss ht syscall nx pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology cpuid pni pclmulqdq ssse3
fma cx16 pcid sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave avx f16c rdrand
hypervisor lahf_lm abm cpuid_fault invpcid_single pti fsgsbase bmi1 avx2 smep bmi2 erms invpcid
xsaveopt
"""
ZEN_4 = """
fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2
ht syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm pni pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2
x2apic movbe popcnt aes xsave avx f16c rdrand lahf_lm cmp_legacy abm sse4a misalignsse 3dnowprefetch
fsgsbase bmi1 avx2 smep bmi2 erms invpcid avx512f avx512dq rdseed adx smap avx512ifma clflushopt
clwb avx512cd sha_ni avx512bw avx512vl xsaveopt xsavec xgetbv1 xsaves avx512_bf16 clzero avx512vbmi
umip avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni avx512_bitalg avx512_vpopcntdq rdpid fsrm
"""


def llvm(**attributes: object) -> str:
    return json.dumps({"kind": "llvm", **attributes})


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    return tmp_path / "cpuinfo"


def write(cpuinfo: Path, flags: str) -> Path:
    cpuinfo.write_text(
        f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: {' '.join(flags.split())}\n"
        "bugs\t\t: swapgs\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    return cpuinfo


@X86
@pytest.mark.parametrize(
    ("mcpu", "flags", "lacking"),
    [
        ("x86-64", HASWELL, []),
        ("haswell", HASWELL, []),
        ("x86-64-v3", HASWELL, []),
        ("x86-64-v4", HASWELL, ["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"]),
        ("x86-64-v4", ZEN_4, []),
        ("znver4", ZEN_4, []),
        ("znver3", ZEN_4, []),
        ("znver5", ZEN_4, ["avx512vp2intersect", "avxvnni"]),
        ("haswell", "fpu sse sse2", ["avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt",
         "movbe", "pclmul", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"]),
    ],
)  # fmt: skip
def test_what_linux_does_not_list_is_lacking(
    cpuinfo: Path, mcpu: str, flags: str, lacking: list[str]
) -> None:
    assert lacking_features(llvm(mcpu=mcpu), write(cpuinfo, flags)) == lacking


@X86
@pytest.mark.parametrize(
    ("mcpu", "shown"),
    [
        ("graniterapids", "avx_vnni avx512_fp16 amx_bf16 amx_tile amx_int8"),
        ("arrowlake", "avx_vnni"),
    ],
)
def test_what_linux_never_lists_is_not_lacking(
    cpuinfo: Path, monkeypatch: pytest.MonkeyPatch, mcpu: str, shown: str
) -> None:
    """It hides amx_fp16 and avx_ifma, and tells avx_vnni_int8 and the like to KVM alone."""
    monkeypatch.setattr(codegen, "llvm_get_system_cpu", lambda: mcpu)
    assert lacking_features(llvm(mcpu=mcpu), write(cpuinfo, f"{ZEN_4} {shown}")) == []


@X86
def test_attributes_of_the_target_count(cpuinfo: Path) -> None:
    """What a target names by itself is wanted, and what it forgoes isn't."""
    write(cpuinfo, HASWELL)
    assert lacking_features(llvm(mattr=["+avx512f"]), cpuinfo) == ["avx512f"]
    assert lacking_features(llvm(mcpu="x86-64-v3", mattr=["+avxvnni"]), cpuinfo) == ["avxvnni"]
    without = [f"-avx512{part}" for part in ("bw", "cd", "dq", "f", "vl")]
    assert lacking_features(llvm(mcpu="x86-64-v4", mattr=without), cpuinfo) == []


def test_code_for_this_cpu_runs_here(cpuinfo: Path) -> None:
    """By LLVM's word, where Linux lists nothing; code for no special CPU always."""
    own = llvm(mcpu=str(codegen.llvm_get_system_cpu()))
    for text in ("", "Features\t: fp asimd evtstrm aes\n", None):
        if text is None:
            cpuinfo.unlink()
        else:
            cpuinfo.write_text(text)
        assert lacking_features(own, cpuinfo) == []
        assert lacking_features(llvm(), cpuinfo) == []
    assert lacking_features(llvm()) == []


def test_another_architecture_is_lacking_altogether(cpuinfo: Path) -> None:
    other = "aarch64-linux-gnu" if platform.machine() == "x86_64" else "x86_64-linux-gnu"
    assert {"neon", "sse2"} & set(lacking_features(llvm(mtriple=other)))
    assert {"neon", "sse2"} & set(lacking_features(llvm(mtriple=other), cpuinfo))


def test_only_llvms_targets_are_looked_at(cpuinfo: Path) -> None:
    write(cpuinfo, "fpu")
    assert lacking_features('{"kind": "c"}', cpuinfo) == []
    assert lacking_features('{"kind": "cuda", "arch": "sm_80"}', cpuinfo) == []


@X86
@pytest.mark.skipif("avx2" not in vector_features()[1], reason="this CPU has no AVX2")
def test_a_generic_target_leaves_instructions_unused() -> None:
    assert "avx2" in unused_features(llvm())
    assert unused_features(llvm(mcpu="x86-64")) == []
    assert unused_features(canonical(resolve_target(parse_target("host")))) == []
    assert unused_features(llvm(mattr=["+avx2"])) == []
    assert unused_features(json.dumps({"kind": "c"})) == []


@X86
def test_a_target_of_another_architecture_leaves_nothing_unused() -> None:
    assert unused_features(llvm(mtriple="aarch64-linux-gnu")) == []
