"""From a TargetSpec to TVM's Target: kind and attributes checked, num-cores filled in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_tvmtune.core.environment import usable_cores
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.targets import TargetSpec

if TYPE_CHECKING:
    from tvm.runtime import Device
    from tvm.target import Target

# Kinds whose code runs on this process's cores; MetaSchedule refuses them without num-cores.
_CPU_KINDS = frozenset({"llvm", "c"})


def resolve_target(spec: TargetSpec) -> Target:
    """Return the canonical Target of a spec, `num-cores` included for CPU kinds.

    Raises OptionError when TVM doesn't know the kind, the tag, an attribute or the CPU.
    """
    import tvm
    from tvm.target.codegen import llvm_get_cpu_archlist, llvm_get_system_cpu

    config = spec.config
    if spec.is_host:
        config = {"kind": "llvm", "mcpu": str(llvm_get_system_cpu())}
    try:
        target = tvm.target.Target(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise OptionError(f"target {spec.given!r}: {_explain(config, error)}") from None
    kind = str(target.kind.name)
    if kind in _CPU_KINDS and "num-cores" not in target.attrs:
        config = {**json.loads(str(target)), "num-cores": usable_cores()}
        target = tvm.target.Target({key: value for key, value in config.items() if value != ""})
    mcpu = target.attrs.get("mcpu")
    if kind == "llvm" and mcpu and str(mcpu) not in set(map(str, llvm_get_cpu_archlist(target))):
        raise OptionError(
            f"target {spec.given!r}: LLVM knows no CPU {str(mcpu)!r}; "
            f"this machine's is {str(llvm_get_system_cpu())!r} (or give the target 'host')"
        )
    return target


def _explain(config: dict[str, object], error: Exception) -> str:
    import tvm

    kinds = sorted(map(str, tvm.target.Target.list_kinds()))
    kind = config.get("kind")
    if kind is not None and kind not in kinds:
        return f"unknown kind {kind!r}, TVM here has {', '.join(kinds)}"
    return cause_of(str(error).partition(" Target creation from")[0])


def canonical(target: Target) -> str:
    """Return TVM's JSON text of a target, keys sorted."""
    return json.dumps(json.loads(str(target)), sort_keys=True)


def num_cores(target: Target) -> int:
    """Return the target's num-cores, for kinds without one the cores this process may use."""
    return int(target.attrs.get("num-cores", usable_cores()))


def device_of(target: Target) -> Device:
    """Return the first device of a target's kind.

    Raises OptionError when this machine has none.
    """
    import tvm

    device = tvm.runtime.device(device_kind(target), 0)
    if not device.exist:
        raise OptionError(f"target {str(target.kind.name)!r}: this machine has no such device")
    return device


def device_kind(target: Target) -> str:
    """Return what `tvm.runtime.device` calls the device of a target's kind."""
    kind = str(target.kind.name)
    return "cpu" if kind in _CPU_KINDS else kind
