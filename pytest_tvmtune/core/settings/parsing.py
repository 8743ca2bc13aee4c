"""The values of settings: how each is parsed, and what it is where nothing sets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.accepted_slowdown import check_parts, parse_day, parse_reason
from pytest_tvmtune.core.settings.dimension_sizes import parse_dims
from pytest_tvmtune.core.settings.model_file_patterns import parse_patterns
from pytest_tvmtune.core.settings.quantities import (
    parse_count,
    parse_seconds,
    parse_share,
    parse_threshold,
    parse_tolerance,
)
from pytest_tvmtune.core.settings.table import SETTINGS
from pytest_tvmtune.core.settings.target_spec import TargetSpec, parse_target

MAX_SEED = 2**31 - 1
MAX_THREADS = 4096

Parser = Callable[[object, str], Any]


def _choice(*accepted: str) -> Callable[[object, str], str]:
    def parse(value: object, where: str) -> str:
        if isinstance(value, str) and value.strip().lower() in accepted:
            return value.strip().lower()
        raise OptionError(f"{where}: {value!r} is not one of {', '.join(accepted)}")

    return parse


def _count(minimum: int, maximum: int | None = None) -> Callable[[object, str], int]:
    bounds = {} if maximum is None else {"maximum": maximum}
    return lambda value, where: parse_count(value, where, minimum=minimum, **bounds)


def _parse_prepack(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return _choice("off", "on", "both")(value, where)


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
                f"{where}: {one!r} is neither a module's dotted name nor the path of a .py file"
            )
    return tuple(dict.fromkeys(modules))


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
        raise OptionError(f"{where}: the list of targets is empty")
    specs: dict[str, TargetSpec] = {}
    for spec in (parse_target(one, where) for one in values):
        known = specs.setdefault(spec.name, spec)
        if known.config_json != spec.config_json:
            raise OptionError(
                f"{where}: {known.given!r} and {spec.given!r} differ in num-cores only, which "
                "changes no code: give one of them, and num_threads for the threads"
            )
    return tuple(specs.values())


# Of each setting: (value, where it was given) -> value, raising OptionError; and its default.
_RULES: Mapping[str, tuple[Parser, Any]] = {
    "target": (parse_targets, (parse_target("llvm"),)),
    "trials": (_count(0), 64),
    "max_trials_per_task": (_count(1), None),
    "prepack": (_parse_prepack, "off"),
    "work_dir": (_parse_path, None),
    "dims": (parse_dims, {}),
    "seed": (_count(0, MAX_SEED), 0),
    "rtol": (parse_tolerance, None),
    "atol": (parse_tolerance, None),
    "threshold": (parse_threshold, parse_threshold("3%", "default")),
    "accept": (parse_share, None),
    "until": (parse_day, None),
    "reason": (parse_reason, None),
    "max_size_growth": (parse_share, None),
    "max_memory_growth": (parse_share, None),
    "max_time": (parse_seconds, 10.0),
    "cold_cache": (_parse_bool, False),
    "num_threads": (_count(1, MAX_THREADS), None),
    "timeout": (parse_seconds, 600.0),
    "tuning": (_choice("missing", "never", "refresh"), "missing"),
    "dir": (_parse_path, Path(".tvmtune")),
    "store_fallback": (_parse_paths, ()),
    "setup": (_parse_modules, ()),
    "collect": (parse_patterns, None),
    "strict": (_parse_bool, False),
    "json": (_parse_path, None),
    "html": (_parse_path, None),
    "markdown": (_parse_path, None),
    "step_summary": (_choice("on", "off"), "on"),
}


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
    parse, _ = _RULES[name]
    return parse(value, where)


def default_of(name: str) -> Any:
    """Return the value of a setting that nothing sets."""
    _, default = _RULES[name]
    return default


def parse_marker(
    arguments: Mapping[str, object], *, what: str = "argument", more: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the parsed arguments of a `tvm_tune` marker; None counts as unset.

    what: the word for one in messages. more: what is accepted beside them, where they stand.
    Raises OptionError that names the argument.
    """
    accepted = [setting.name for setting in SETTINGS if setting.in_marker]
    parsed: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in accepted:
            import difflib

            known = [*accepted, *more]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise OptionError(f"unknown {what} {name!r}, accepted are {', '.join(known)}{hint}")
        if value is not None:
            parsed[name] = parse_setting(name, value, name)
    check_parts(parsed)
    return parsed
