"""The values of settings: their parsers and their defaults."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.accepted_slowdown import check_parts, parse_day, parse_reason
from pytest_tvmtune.core.settings.dimension_sizes import parse_dims
from pytest_tvmtune.core.settings.latency_budget import LatencyBudget, parse_budgets, parse_cpu
from pytest_tvmtune.core.settings.model_file_patterns import parse_patterns
from pytest_tvmtune.core.settings.quantities import (
    MAX_TRIALS,
    Threshold,
    parse_count,
    parse_seconds,
    parse_share,
    parse_threshold,
    parse_tolerance,
)
from pytest_tvmtune.core.settings.rpc_address import RpcAddress, parse_rpc
from pytest_tvmtune.core.settings.table import SETTINGS
from pytest_tvmtune.core.settings.target_spec import TargetSpec, parse_target

MAX_SEED = 2**31 - 1
MAX_THREADS = 4096

Prepack = Literal["off", "on", "both"]
Tuning = Literal["missing", "never", "refresh"]
OnOff = Literal["on", "off"]
# Parsed values by the names of their settings: what one level says.
Layer = Mapping[str, Any]
T = TypeVar("T")
_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[T]):
    """The parser and the default of a setting; both have its type.

    parse: (value, where it was given) -> value, raising OptionError.
    """

    name: str
    parse: Callable[[object, str], T]
    default: T


def _choice(*accepted: _Word) -> Callable[[object, str], _Word]:
    def parse(value: object, where: str) -> _Word:
        text = value.strip().lower() if isinstance(value, str) else ""
        for word in accepted:
            if word == text:
                return word
        raise OptionError(f"{where}: {value!r} is not one of {', '.join(accepted)}")

    return parse


def _count(minimum: int, maximum: int = MAX_TRIALS) -> Callable[[object, str], int]:
    return lambda value, where: parse_count(value, where, minimum=minimum, maximum=maximum)


_parse_prepack_word: Callable[[object, str], Prepack] = _choice("off", "on", "both")


def _parse_prepack(value: object, where: str) -> Prepack:
    if isinstance(value, bool):
        return "on" if value else "off"
    return _parse_prepack_word(value, where)


def _parse_path(value: object, where: str) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value.strip():
        return Path(value).expanduser()
    raise OptionError(f"{where}: {value!r} is not a path")


def _parse_paths(value: object, where: str) -> tuple[Path, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(dict.fromkeys(_parse_path(one, where) for one in values))


def _parse_modules(value: object, where: str) -> tuple[str | Path, ...]:
    """Return dotted names and paths of .py files."""
    values = value if isinstance(value, (list, tuple)) else [value]
    modules: list[str | Path] = []
    for one in values:
        text = one.strip() if isinstance(one, str) else ""
        if text.endswith(".py"):
            modules.append(Path(text).expanduser())
        elif text and all(part.isidentifier() for part in text.split(".")):
            modules.append(text)
        else:
            raise OptionError(
                f"{where}: {one!r} is neither the dotted name of a module nor the path of a "
                ".py file"
            )
    return tuple(dict.fromkeys(modules))


def _parse_command(value: object, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise OptionError(f"{where}: {value!r} is not a command, such as aarch64-linux-gnu-g++")


def _parse_bool(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"false", "0", "no", "off"}:
        return False
    raise OptionError(f"{where}: {value!r} is not true or false")


def parse_targets(value: object, where: str) -> tuple[TargetSpec, ...]:
    """Return the targets in one value: a target, or a list of them. Raises OptionError."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise OptionError(f"{where}: the list of targets is empty; give at least one target")
    specs: dict[str, TargetSpec] = {}
    for spec in (parse_target(one, where) for one in values):
        known = specs.setdefault(spec.name, spec)
        if known.config_json != spec.config_json:
            raise OptionError(
                f"{where}: {known.given!r} and {spec.given!r} differ only in num-cores, which "
                "doesn't change the code; give one of them, and set the number of threads with "
                "num_threads"
            )
    return tuple(specs.values())


TARGET: Rule[tuple[TargetSpec, ...]] = Rule(
    name="target", parse=parse_targets, default=(parse_target("llvm"),)
)
TRIALS: Rule[int] = Rule(name="trials", parse=_count(0), default=64)
MAX_TRIALS_PER_TASK: Rule[int | None] = Rule(
    name="max_trials_per_task", parse=_count(1), default=None
)
MAX_TUNING_TIME: Rule[float | None] = Rule(
    name="max_tuning_time", parse=parse_seconds, default=None
)
PREPACK: Rule[Prepack] = Rule(name="prepack", parse=_parse_prepack, default="off")
WORK_DIR: Rule[Path | None] = Rule(name="work_dir", parse=_parse_path, default=None)
DIMS: Rule[Mapping[str, int]] = Rule(name="dims", parse=parse_dims, default={})
SEED: Rule[int] = Rule(name="seed", parse=_count(0, MAX_SEED), default=0)
RTOL: Rule[float | None] = Rule(name="rtol", parse=parse_tolerance, default=None)
ATOL: Rule[float | None] = Rule(name="atol", parse=parse_tolerance, default=None)
THRESHOLD: Rule[Threshold] = Rule(
    name="threshold", parse=parse_threshold, default=parse_threshold("3%", "default")
)
MAX_DRIFT: Rule[Threshold] = Rule(
    name="max_drift", parse=parse_threshold, default=parse_threshold("10%", "default")
)
ACCEPT: Rule[float | None] = Rule(name="accept", parse=parse_share, default=None)
UNTIL: Rule[datetime.date | None] = Rule(name="until", parse=parse_day, default=None)
REASON: Rule[str | None] = Rule(name="reason", parse=parse_reason, default=None)
MAX_LATENCY: Rule[tuple[LatencyBudget, ...]] = Rule(
    name="max_latency", parse=parse_budgets, default=()
)
ONLY_ON: Rule[str | None] = Rule(name="only_on", parse=parse_cpu, default=None)
MAX_SIZE_GROWTH: Rule[float | None] = Rule(name="max_size_growth", parse=parse_share, default=None)
MAX_MEMORY_GROWTH: Rule[float | None] = Rule(
    name="max_memory_growth", parse=parse_share, default=None
)
MAX_KERNEL_GROWTH: Rule[float | None] = Rule(
    name="max_kernel_growth", parse=parse_share, default=None
)
MAX_COMPILE_TIME_GROWTH: Rule[float | None] = Rule(
    name="max_compile_time_growth", parse=parse_share, default=None
)
MAX_TUNING_TIME_GROWTH: Rule[float | None] = Rule(
    name="max_tuning_time_growth", parse=parse_share, default=None
)
PEAK_MEMORY: Rule[bool] = Rule(name="peak_memory", parse=_parse_bool, default=False)
MAX_PEAK_MEMORY_GROWTH: Rule[float | None] = Rule(
    name="max_peak_memory_growth", parse=parse_share, default=None
)
ROOFLINE: Rule[bool] = Rule(name="roofline", parse=_parse_bool, default=False)
MAX_TIME: Rule[float] = Rule(name="max_time", parse=parse_seconds, default=10.0)
COLD_CACHE: Rule[bool] = Rule(name="cold_cache", parse=_parse_bool, default=False)
NUM_THREADS: Rule[int | None] = Rule(name="num_threads", parse=_count(1, MAX_THREADS), default=None)
TIMEOUT: Rule[float] = Rule(name="timeout", parse=parse_seconds, default=600.0)
RPC: Rule[RpcAddress | None] = Rule(name="rpc", parse=parse_rpc, default=None)
CROSS_COMPILER: Rule[str | None] = Rule(name="cross_compiler", parse=_parse_command, default=None)
TUNING: Rule[Tuning] = Rule(
    name="tuning", parse=_choice("missing", "never", "refresh"), default="missing"
)
DIR: Rule[Path] = Rule(name="dir", parse=_parse_path, default=Path(".tvmtune"))
STORE_FALLBACK: Rule[tuple[Path, ...]] = Rule(name="store_fallback", parse=_parse_paths, default=())
SETUP: Rule[tuple[str | Path, ...]] = Rule(name="setup", parse=_parse_modules, default=())
COLLECT: Rule[tuple[str, ...] | None] = Rule(name="collect", parse=parse_patterns, default=None)
STRICT: Rule[bool] = Rule(name="strict", parse=_parse_bool, default=False)
JSON: Rule[Path | None] = Rule(name="json", parse=_parse_path, default=None)
HTML: Rule[Path | None] = Rule(name="html", parse=_parse_path, default=None)
MARKDOWN: Rule[Path | None] = Rule(name="markdown", parse=_parse_path, default=None)
BMF: Rule[Path | None] = Rule(name="bmf", parse=_parse_path, default=None)
OPENMETRICS: Rule[Path | None] = Rule(name="openmetrics", parse=_parse_path, default=None)
BADGE: Rule[Path | None] = Rule(name="badge", parse=_parse_path, default=None)
ISSUES: Rule[Path | None] = Rule(name="issues", parse=_parse_path, default=None)
STEP_SUMMARY: Rule[OnOff] = Rule(name="step_summary", parse=_choice("on", "off"), default="on")
# Of all rules above; one below it is not found.
_RULES: Mapping[str, Rule[Any]] = {
    rule.name: rule for rule in tuple(globals().values()) if isinstance(rule, Rule)
}


def first_set(rule: Rule[T], layers: Sequence[Layer]) -> T:
    """Return the value of the first layer that sets the rule's setting, else its default."""
    for layer in layers:
        if layer.get(rule.name) is not None:
            # Layers hold only values that the rule's own parser returned.
            value: T = layer[rule.name]
            return value
    return rule.default


def parse_setting(name: str, value: object, where: str) -> Any:
    """Return the value of a setting.

    Args:
        name: Which setting.
        value: As it was given: text, or an object in a marker.
        where: Where it was given, for messages.

    Returns:
        The value in the setting's own type.

    Raises:
        OptionError: The setting doesn't accept the value.
    """
    return _RULES[name].parse(value, where)


def default_of(name: str) -> Any:
    """Return the value of a setting that nothing sets."""
    return _RULES[name].default


def parse_marker(
    arguments: Mapping[str, object], *, what: str = "argument", more: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the parsed arguments of a `tvm_tune` marker.

    Args:
        arguments: By name; None counts as unset.
        what: The word for one of them in messages.
        more: Other names that are accepted there, for messages.

    Raises:
        OptionError: An argument or its value isn't accepted; the message names it.
    """
    accepted = [setting.name for setting in SETTINGS if setting.in_marker]
    parsed: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in accepted:
            import difflib

            known = [*accepted, *more]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise OptionError(f"unknown {what} {name!r}; accepted are {', '.join(known)}{hint}")
        if value is not None:
            parsed[name] = parse_setting(name, value, name)
    check_parts(parsed)
    return parsed
