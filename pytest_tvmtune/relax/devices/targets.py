"""From a TargetSpec to TVM's Target: kind and attributes checked, num-cores filled in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import LackingError, OptionError, listed
from pytest_tvmtune.core.settings.target_spec import HOST, TargetSpec, parse_target
from pytest_tvmtune.machine.fingerprint import usable_cores
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.cpu_features import lacking_features

if TYPE_CHECKING:
    from tvm.runtime import Device
    from tvm.target import Target

# Kinds whose code runs on this process's cores; MetaSchedule refuses them without num-cores.
_CPU_KINDS = frozenset({"llvm", "c"})


def resolve_target(spec: TargetSpec, *, cores: int | None = None) -> Target:
    """Return the canonical Target of a spec, `num-cores` included for CPU kinds.

    cores: of the device, None for those of this process.
    Raises OptionError when TVM doesn't know the kind, the tag, an attribute or the CPU.
    """
    config = spec.config
    if spec.is_host:
        config = {"kind": "llvm", "mcpu": str(compat.llvm_get_system_cpu())}
    try:
        target = compat.Target(config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise OptionError(f"target {spec.given!r}: {_explain(config, error)}") from None
    kind = str(target.kind.name)
    if kind in _CPU_KINDS and "num-cores" not in target.attrs:
        config = {**json.loads(str(target)), "num-cores": cores or usable_cores()}
        target = compat.Target({key: value for key, value in config.items() if value != ""})
    mcpu = target.attrs.get("mcpu")
    if (
        kind == "llvm"
        and mcpu
        and str(mcpu) not in set(map(str, compat.llvm_get_cpu_archlist(target)))
    ):
        raise OptionError(
            f"target {spec.given!r}: LLVM doesn't know the CPU {str(mcpu)!r}; for this machine, "
            "give "
            f"the CPU {str(compat.llvm_get_system_cpu())!r}, or the target 'host'"
        )
    return target


def usable_target(spec: TargetSpec) -> Target:
    """Return the canonical Target of a spec, if this machine can run code for it.

    Raises OptionError as `resolve_target` does; LackingError where the machine lacks the device,
    or instructions that the target's CPU has.
    """
    target = resolve_target(spec)
    try:
        device_of(target)
    except LackingError:
        raise LackingError(f"target {spec.given!r}: this machine has no such device") from None
    if not spec.is_host and any(name in target.attrs for name in ("mcpu", "mattr")):
        # What the system hides of its own CPU, as virtual machines do, is no reason.
        hidden = lacking_features(canonical(resolve_target(parse_target(HOST))))
        lacking = [name for name in lacking_features(canonical(target)) if name not in hidden]
        if lacking:
            raise LackingError(f"target {spec.given!r}: this machine's CPU lacks {listed(lacking)}")
    return target


def shortest_config(value: object) -> object:
    """Return the least configuration that makes an equal Target; other values, as they are.

    A Target has all that TVM fills in, so the Target of `llvm` doesn't look like `llvm`.
    """
    if not isinstance(value, compat.Target):
        return value
    full = json.loads(str(value))

    def makes_it(config: dict[str, Any] | str) -> bool:
        try:
            return bool(json.loads(str(compat.Target(config))) == full)
        except (ValueError, TypeError, RuntimeError):
            return False

    config: dict[str, Any] = dict(full)
    for key in set(full) - {"kind"}:
        less = {name: one for name, one in config.items() if name != key}
        if makes_it(less):
            config = less
    if len(config) > 2:
        # A Target doesn't remember the tag that it was made of.
        tags = (str(tag) for tag in compat.list_tags() or ())
        config = next(({"tag": tag} for tag in tags if makes_it(tag)), config)
    if value.host is not None and "host" in config:
        config["host"] = shortest_config(value.host)
    return config


def _explain(config: dict[str, object], error: Exception) -> str:

    kinds = sorted(map(str, compat.Target.list_kinds()))
    kind = config.get("kind")
    if kind is not None and kind not in kinds:
        return f"unknown kind {kind!r}; the installed TVM has {', '.join(kinds)}"
    return cause_of(str(error).partition(" Target creation from")[0])


def canonical(target: Target) -> str:
    """Return TVM's JSON text of a target, keys sorted."""
    return json.dumps(json.loads(str(target)), sort_keys=True)


def num_cores(target: Target) -> int:
    """Return the target's num-cores, for kinds without one the cores this process may use."""
    return int(target.attrs.get("num-cores", usable_cores()))


def device_of(target: Target) -> Device:
    """Return the first device of a target's kind. Raises LackingError as `first_device`."""
    return first_device(device_kind(target))


def first_device(kind: str) -> Device:
    """Return the first device of a kind, as `device_kind` calls it.

    Raises LackingError when this machine has none.
    """
    import tvm

    device = tvm.runtime.device(kind, 0)
    if not device.exist:
        raise LackingError(f"target {kind!r}: this machine has no such device")
    return device


def device_kind(target: Target) -> str:
    """Return what `tvm.runtime.device` calls the device of a target's kind."""
    kind = str(target.kind.name)
    return "cpu" if kind in _CPU_KINDS else kind
