"""The settings of a run and of a test: names, parsers, defaults, where each may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from pytest_tvmtune.core.settings.target_spec import TargetSpec, parse_target

MAX_SEED = 2**31 - 1
MAX_THREADS = 4096


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table in docs/reference.md: a name that works at several levels.

    parse: (value, where it was given) -> value, raising OptionError. singular: the name of an
    option and ini key that give one of what the marker gives all of.
    """

    name: str
    parse: Callable[[object, str], Any]
    default: Any
    help: str
    metavar: str = "VALUE"
    in_marker: bool = True
    on_command_line: bool = True
    repeatable: bool = False
    singular: str = ""

    @property
    def is_switch(self) -> bool:
        """Whether its option takes no value."""
        return self.parse is _parse_bool

    @property
    def flag(self) -> str:
        """The command-line option."""
        return "--tvm-" + (self.singular or self.name).replace("_", "-")

    @property
    def ini(self) -> str:
        """The ini key."""
        return "tvm_" + (self.singular or self.name)


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


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="target",
        parse=parse_targets,
        default=(parse_target("llvm"),),
        metavar="TARGET",
        repeatable=True,
        help="what to compile for: a kind, 'llvm -mcpu=znver4', JSON, or 'host' (llvm for this "
        "CPU); repeatable, one test item a target. Default: TVM_TEST_TARGETS, else llvm",
    ),
    Setting(
        name="trials",
        parse=_count(0),
        default=64,
        metavar="N",
        help="tuning trials for a whole model, 0 = never tune (default: 64)",
    ),
    Setting(
        name="max_trials_per_task",
        parse=_count(1),
        default=None,
        metavar="N",
        help="most trials for one task (default: no cap, every task gets its share)",
    ),
    Setting(
        name="prepack",
        parse=_parse_prepack,
        default="off",
        metavar="off|on|both",
        help="cpu_weight_prepack; 'both' makes two test items (default: off)",
    ),
    Setting(
        name="work_dir",
        parse=_parse_path,
        default=None,
        metavar="DIR",
        help="a stock MetaSchedule work_dir: its records are taken in before, and the model's "
        "written out to it after",
    ),
    Setting(
        name="dims",
        singular="dim",
        parse=parse_dims,
        default={},
        metavar="NAME=SIZE",
        repeatable=True,
        help="the size of a dynamic dimension, by the name that the model gives it; repeatable "
        "(default: 1, with a warning)",
    ),
    Setting(
        name="seed",
        parse=_count(0, MAX_SEED),
        default=0,
        metavar="N",
        help="seed of the search, of made-up parameters and of made-up inputs (default: 0)",
    ),
    Setting(
        name="rtol",
        parse=parse_tolerance,
        default=None,
        on_command_line=False,
        help="relative numeric tolerance (default: by dtype)",
    ),
    Setting(
        name="atol",
        parse=parse_tolerance,
        default=None,
        on_command_line=False,
        help="absolute numeric tolerance (default: by dtype)",
    ),
    Setting(
        name="threshold",
        parse=parse_threshold,
        default=parse_threshold("3%", "default"),
        metavar="3%|0.2ms",
        help="slowdown that fails a test (default: 3%%)",
    ),
    Setting(
        name="accept",
        parse=parse_share,
        default=None,
        on_command_line=False,
        help="a slowdown that is accepted on top of the threshold, with until= and reason=",
    ),
    Setting(
        name="until",
        parse=parse_day,
        default=None,
        on_command_line=False,
        help="the last day, in UTC, on which it is accepted",
    ),
    Setting(
        name="reason",
        parse=parse_reason,
        default=None,
        on_command_line=False,
        help="why it is accepted; shown in every report",
    ),
    Setting(
        name="max_size_growth",
        parse=parse_share,
        default=None,
        metavar="10%",
        help="growth of the compiled library, against the baseline's, that fails a test "
        "(default: none does)",
    ),
    Setting(
        name="max_memory_growth",
        parse=parse_share,
        default=None,
        metavar="10%",
        help="the same of the memory that a call needs for what its kernels hand on and return "
        "(default: none does)",
    ),
    Setting(
        name="max_time",
        parse=parse_seconds,
        default=10.0,
        metavar="SECONDS",
        help="most time the latency gate may spend on one item, or what 20 epochs take if that is "
        "longer (default: 10)",
    ),
    Setting(
        name="cold_cache",
        parse=_parse_bool,
        default=False,
        help="time every call with empty caches, as in a program that does other things between",
    ),
    Setting(
        name="num_threads",
        parse=_count(1, MAX_THREADS),
        default=None,
        metavar="N",
        help="TVM runtime threads wherever a kernel runs (default: the target's num-cores)",
    ),
    Setting(
        name="timeout",
        parse=parse_seconds,
        default=600.0,
        metavar="SECONDS",
        help="most time that compiling a model, or its first run, may take (default: 600)",
    ),
    Setting(
        name="tuning",
        parse=_choice("missing", "never", "refresh"),
        default="missing",
        metavar="missing|never|refresh",
        in_marker=False,
        help="tune what was not yet served, nothing, or everything again (default: missing)",
    ),
    Setting(
        name="dir",
        parse=_parse_path,
        default=Path(".tvmtune"),
        metavar="DIR",
        in_marker=False,
        help="where the store lives (default: .tvmtune under the rootdir)",
    ),
    Setting(
        name="store_fallback",
        parse=_parse_paths,
        default=(),
        metavar="DIR",
        in_marker=False,
        repeatable=True,
        help="another store, read-only (a mounted share, a folder in git), whose tuning records "
        "are looked up after the local ones; repeatable",
    ),
    Setting(
        name="setup",
        parse=_parse_modules,
        default=(),
        metavar="MODULE",
        in_marker=False,
        repeatable=True,
        help="a module (dotted name or .py file) that registers operators, lowerings or functions "
        "with TVM: imported in every process that compiles, tunes or runs models; repeatable",
    ),
    Setting(
        name="collect",
        parse=parse_patterns,
        default=None,
        metavar="PATTERN",
        in_marker=False,
        repeatable=True,
        help="ONNX files that are tests by themselves, such as '*.onnx', or 'off'; repeatable "
        "(default: those below folders named on the command line that hold no Python file)",
    ),
    Setting(
        name="strict",
        parse=_parse_bool,
        default=False,
        in_marker=False,
        help="what is unknown fails too: nothing accepted yet, inconclusive, untuned tasks",
    ),
    Setting(
        name="json",
        parse=_parse_path,
        default=None,
        metavar="PATH",
        in_marker=False,
        help="write the results as JSON",
    ),
    Setting(
        name="html",
        parse=_parse_path,
        default=None,
        metavar="PATH",
        in_marker=False,
        help="write the results as one self-contained HTML page",
    ),
    Setting(
        name="markdown",
        parse=_parse_path,
        default=None,
        metavar="PATH",
        in_marker=False,
        help="write the results as a Markdown table, worst first",
    ),
    Setting(
        name="step_summary",
        parse=_choice("on", "off"),
        default="on",
        metavar="on|off",
        in_marker=False,
        help="on GitHub Actions, add that table to the job's summary (default: on)",
    ),
)
# The settings that are paths of reports.
REPORTS = ("json", "html", "markdown")
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


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
            parsed[name] = BY_NAME[name].parse(value, name)
    check_parts(parsed)
    return parsed
