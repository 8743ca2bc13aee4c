"""Targets as users write them, turned into a configuration without importing tvm.

Accepted: a kind (`llvm`), a tag (`nvidia/nvidia-a100`), the old command-line form that TVM's
documentation still shows (`llvm -mcpu=znver4 -num-cores 4`; TVM itself refuses it since 0.24),
a dict, its JSON text, and `host`: llvm for the CPU of this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_tvmtune.core.errors import OptionError

HOST = "host"
_ACCEPTED = (
    'a kind ("llvm"), "host", a kind with attributes ("llvm -mcpu=znver4 -num-cores 4"), '
    'or a dict or its JSON ({"kind": "llvm", "mcpu": "znver4"})'
)
# What TVM 0.27 fills in for a kind: who gives it means the kind alone.
FILLED_IN: Mapping[str, Mapping[str, object]] = {
    "llvm": {"keys": ["cpu"]},
    "c": {"keys": ["cpu"]},
    "cuda": {"keys": ["cuda", "gpu"], "max_num_threads": 1024, "thread_warp_size": 32},
    "rocm": {"keys": ["rocm", "gpu"], "max_num_threads": 256, "thread_warp_size": 64},
    "vulkan": {"keys": ["vulkan", "gpu"], "max_num_threads": 256, "thread_warp_size": 1},
    "opencl": {"keys": ["opencl", "gpu"], "max_num_threads": 256, "thread_warp_size": 1},
    "metal": {"keys": ["metal", "gpu"], "max_num_threads": 256, "thread_warp_size": 16},
}
_LIST_KEYS = frozenset({"keys", "libs", "mattr"})
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """One target as configured: `given` is the user's text, `config_json` sorted JSON."""

    given: str
    config_json: str

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as TVM's Target takes it; empty for `host`."""
        loaded: dict[str, Any] = json.loads(self.config_json)
        return loaded

    @property
    def is_host(self) -> bool:
        """Whether it stands for the CPU of this machine."""
        return not self.config

    @property
    def kind(self) -> str:
        """The kind, for matching a test's targets against a run's; a tag stands for itself."""
        if self.is_host:
            return "llvm"
        return str(self.config.get("kind") or self.config.get("tag"))

    @property
    def is_bare(self) -> bool:
        """Whether only the kind was given (num-cores changes no code, so it doesn't count)."""
        return not self.is_host and set(self.config) <= {"kind", "num-cores"}

    @property
    def name(self) -> str:
        """A short stable name for test ids: `llvm`, `host`, else the kind and a hash."""
        if self.is_host:
            return HOST
        if self.is_bare:
            return self.kind
        code_config = {key: value for key, value in self.config.items() if key != "num-cores"}
        digest = hashlib.sha256(json.dumps(code_config, sort_keys=True).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9_]+', '-', self.kind)}-{digest}"


def parse_target(value: object, name: str = "target") -> TargetSpec:
    """Return the target that a user wrote.

    Whether TVM knows the kind and its attributes is checked later, by relax.devices.targets.

    Args:
        value: As the top of this module lists it, a `tvm.target.Target`, or a TargetSpec.
        name: The option, for messages.

    Raises:
        OptionError: It is malformed.
    """
    if isinstance(value, TargetSpec):
        return value
    if isinstance(value, Mapping):
        return _from_config(dict(value), str(dict(value)), name)
    if not isinstance(value, str):
        # A tvm Target prints as its own JSON configuration.
        given, value = value, str(value)
        if not value.startswith("{"):
            raise OptionError(f"{name}: {given!r} has no target kind; give {_ACCEPTED}")
    text = value.strip()
    if not text:
        raise OptionError(f"{name}: the target is empty; give {_ACCEPTED}")
    if text == HOST:
        return TargetSpec(given=text, config_json="{}")
    if text.startswith("{"):
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise OptionError(
                f"{name}: {text!r} is malformed JSON ({error}); give {_ACCEPTED}"
            ) from None
        return _from_config(loaded, text, name)
    return _from_config(_parse_command_line(text, name), text, name)


def _parse_command_line(text: str, name: str) -> dict[str, Any]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OptionError(f"{name}: {text!r}: {error}; give {_ACCEPTED}") from None
    head, *rest = words
    config: dict[str, Any] = {"tag" if "/" in head else "kind": head}
    while rest:
        word = rest.pop(0)
        key, equals, raw = word.lstrip("-").partition("=")
        if not word.startswith("-") or not key:
            raise OptionError(f"{name}: {word!r} in {text!r} is not an attribute; give {_ACCEPTED}")
        if not equals:
            # `-num-cores 4`; a word on its own (`-system-lib`) is a flag.
            raw = rest.pop(0) if rest and not re.match(r"-+[A-Za-z]", rest[0]) else "true"
        config[key] = _typed(key, raw)
    return config


def _typed(key: str, raw: str) -> object:
    if key in _LIST_KEYS:
        return raw.split(",")
    if re.fullmatch(r"[+-]?\d+", raw):
        return int(raw)
    return {"true": True, "false": False}.get(raw.lower(), raw)


def _from_config(config: object, given: str, name: str) -> TargetSpec:
    if not isinstance(config, dict) or not config:
        raise OptionError(f"{name}: {given!r} is not a target configuration; give {_ACCEPTED}")
    config = dict(config)
    if not config.get("tag"):
        config.pop("tag", None)
    kind = config.get("kind")
    if "tag" not in config and not (isinstance(kind, str) and _KIND.fullmatch(kind)):
        raise OptionError(f"{name}: {given!r} has no target kind; give {_ACCEPTED}")
    filled_in = FILLED_IN.get(str(kind), {})
    config = {
        key: value
        for key, value in config.items()
        if key not in filled_in or value != filled_in[key]
    }
    if isinstance(host := config.get("host"), (str, Mapping)):
        config["host"] = parse_target(host, f"{name}: host").config or host
    cores = config.get("num-cores")
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int) or cores < 1):
        raise OptionError(
            f"{name}: num-cores is {cores!r} in {given!r}; give a whole number of at least 1"
        )
    try:
        config_json = json.dumps(config, sort_keys=True)
    except TypeError as error:
        raise OptionError(f"{name}: {given!r} has a value that JSON can't hold ({error})") from None
    return TargetSpec(given=given, config_json=config_json)


def select_targets(
    pinned: tuple[TargetSpec, ...] | None,
    asked: tuple[TargetSpec, ...] | None,
    default: tuple[TargetSpec, ...],
) -> tuple[TargetSpec, ...]:
    """Return the targets one test runs on.

    The marker (`pinned`) says what the test is for, the option (`asked`) which of those this run
    does. A bare kind stands for every target of its kind, on either side. Empty: the run leaves
    out all that the test is pinned to.
    """
    if pinned is None:
        return asked or default
    if asked is None:
        return pinned
    chosen: dict[str, TargetSpec] = {}
    for want in asked:
        for pin in pinned:
            if pin.kind != want.kind:
                continue
            if pin.is_bare and "num-cores" not in pin.config:
                chosen.setdefault(want.name, want)
            elif want.is_bare or pin.name == want.name:
                chosen.setdefault(pin.name, pin)
            elif pin.is_bare:
                chosen.setdefault(want.name, want)
    return tuple(chosen.values())
