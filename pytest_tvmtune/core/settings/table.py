"""The settings of a run and of a test: their names, their help texts, and where you can set them.

Every pytest session reads this table, so it imports nothing. The parsers of the values are in
settings.parsing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A row of the table in docs/reference/settings.md: a name that works at several levels.

    singular: the name of the option and the ini key, if these take one value and the marker takes
    all values. is_switch: whether the option takes no value.
    """

    name: str
    help: str
    metavar: str = "VALUE"
    in_marker: bool = True
    on_command_line: bool = True
    repeatable: bool = False
    is_switch: bool = False
    singular: str = ""

    @property
    def flag(self) -> str:
        """The command-line option."""
        return "--tvm-" + (self.singular or self.name).replace("_", "-")

    @property
    def ini(self) -> str:
        """The ini key."""
        return "tvm_" + (self.singular or self.name)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="target",
        metavar="TARGET",
        repeatable=True,
        help="target to compile for: a kind, 'llvm -mcpu=znver4', JSON, or 'host' (llvm for this "
        "CPU); repeatable, each target makes a test item (default: TVM_TEST_TARGETS, else llvm)",
    ),
    Setting(
        name="trials",
        metavar="N",
        help="number of tuning trials for the whole model; 0 turns tuning off (default: 64)",
    ),
    Setting(
        name="max_trials_per_task",
        metavar="N",
        help="maximum number of trials for a task (default: no limit, each task gets its share)",
    ),
    Setting(
        name="max_tuning_time",
        metavar="SECONDS",
        help="time after which tuning a model ends, although trials are left, such as 120 "
        "(default: no limit)",
    ),
    Setting(
        name="prepack",
        metavar="off|on|both",
        help="whether to prepack weights (cpu_weight_prepack); 'both' makes two test items "
        "(default: off)",
    ),
    Setting(
        name="work_dir",
        metavar="DIR",
        help="folder with MetaSchedule's own files; its records are imported before tuning, and "
        "the records of the model are exported to it after tuning",
    ),
    Setting(
        name="dims",
        singular="dim",
        metavar="NAME=SIZE",
        repeatable=True,
        help="size of a dynamic dimension, by its name in the model; repeatable "
        "(default: 1, with a warning)",
    ),
    Setting(
        name="seed",
        metavar="N",
        help="seed of the tuner's search, and of generated parameters and inputs (default: 0)",
    ),
    Setting(
        name="rtol",
        on_command_line=False,
        help="relative tolerance of outputs (default: depends on the dtype)",
    ),
    Setting(
        name="atol",
        on_command_line=False,
        help="absolute tolerance of outputs (default: depends on the dtype)",
    ),
    Setting(
        name="threshold",
        metavar="3%|0.2ms",
        help="fail a test if the model has become slower by more than this (default: 3%%)",
    ),
    Setting(
        name="max_drift",
        metavar="10%|0.5ms",
        help="fail a test if the model has become slower than its anchor by more than this "
        "(default: 10%%)",
    ),
    Setting(
        name="accept",
        on_command_line=False,
        help="slowdown to accept on top of the threshold; needs until= and reason=",
    ),
    Setting(
        name="until",
        on_command_line=False,
        help="last day, in UTC, on which the slowdown is accepted",
    ),
    Setting(
        name="reason",
        on_command_line=False,
        help="reason why the slowdown is accepted; every report shows it",
    ),
    Setting(
        name="max_latency",
        on_command_line=False,
        help="latency budget of a call, such as 5ms, p99:8ms, or both; it holds for the machine "
        "that runs the test",
    ),
    Setting(
        name="only_on",
        on_command_line=False,
        help="part of the name of the CPU that the latency budget is for",
    ),
    Setting(
        name="max_size_growth",
        metavar="10%",
        help="fail a test if the compiled library has grown by more than this since the baseline "
        "(default: no limit)",
    ),
    Setting(
        name="max_memory_growth",
        metavar="10%",
        help="fail a test if the memory of a call (tensors between kernels, and outputs) has grown "
        "by more than this since the baseline (default: no limit)",
    ),
    Setting(
        name="max_kernel_growth",
        metavar="0%",
        help="fail a test if a call of the model calls more kernels than the baseline by more than "
        "this (default: no limit)",
    ),
    Setting(
        name="max_peak_memory_growth",
        metavar="10%",
        help="fail a test if the resident memory of loading the library and a call has grown by "
        "more than this since the baseline (default: no limit)",
    ),
    Setting(
        name="max_compile_time_growth",
        metavar="50%",
        help="fail a test if compiling the library took longer than the baseline's by more than "
        "this (default: no limit)",
    ),
    Setting(
        name="max_tuning_time_growth",
        metavar="50%",
        help="fail a test if a tuning trial took longer on average than in the run that accepted "
        "the baseline by more than this (default: no limit)",
    ),
    Setting(
        name="max_time",
        metavar="SECONDS",
        help="maximum time of the latency gate for a test item; the gate can measure 20 epochs "
        "even if they take longer (default: 10)",
    ),
    Setting(
        name="peak_memory",
        is_switch=True,
        help="measure how much resident memory loading the library and a call take, in a separate "
        "process",
    ),
    Setting(
        name="roofline",
        is_switch=True,
        help="time the kernels of every case, and show which share of the machine's measured peak "
        "they reach",
    ),
    Setting(
        name="cold_cache",
        is_switch=True,
        help="measure every call with empty caches, as in a program that does other work "
        "between calls",
    ),
    Setting(
        name="num_threads",
        metavar="N",
        help="number of TVM's runtime threads for all kernels (default: the target's num-cores)",
    ),
    Setting(
        name="timeout",
        metavar="SECONDS",
        help="maximum time for each step of compiling a model, and for its first run "
        "(default: 600)",
    ),
    Setting(
        name="rpc",
        metavar="HOST:PORT[/KEY]",
        help="device that models run on, behind TVM RPC: HOST:PORT/KEY for the devices that a "
        "tracker has for a key, HOST:PORT for one server (default: TVM_TRACKER_HOST, "
        "TVM_TRACKER_PORT, and TVM_TRACKER_KEY, else this machine)",
    ),
    Setting(
        name="cross_compiler",
        metavar="COMMAND",
        help="compiler that links libraries for the device (default: found by the triple of the "
        "target, such as aarch64-linux-gnu-g++)",
    ),
    Setting(
        name="tuning",
        metavar="missing|never|refresh",
        in_marker=False,
        help="tune only tasks that no request has covered yet (missing), no tasks (never), or all "
        "tasks again (refresh) (default: missing)",
    ),
    Setting(
        name="dir",
        metavar="DIR",
        in_marker=False,
        help="folder of the store (default: .tvmtune under the rootdir)",
    ),
    Setting(
        name="store_fallback",
        metavar="DIR",
        in_marker=False,
        repeatable=True,
        help="folder of another store, such as a mounted share or a folder in git; it's only "
        "read, and its tuning records are looked up after the local records; repeatable",
    ),
    Setting(
        name="setup",
        metavar="MODULE",
        in_marker=False,
        repeatable=True,
        help="module (dotted name or .py file) that registers operators, lowerings, or functions "
        "with TVM; every process that compiles, tunes, or runs models imports it; repeatable",
    ),
    Setting(
        name="collect",
        metavar="PATTERN",
        in_marker=False,
        repeatable=True,
        help="pattern of ONNX files to collect as tests, such as '*.onnx', or 'off'; repeatable "
        "(default: ONNX files below folders on the command line that contain no Python file)",
    ),
    Setting(
        name="strict",
        is_switch=True,
        in_marker=False,
        help="fail tests for unknown results, too: no baseline, an inconclusive measurement, or "
        "untuned tasks",
    ),
    Setting(
        name="json",
        metavar="PATH",
        in_marker=False,
        help="write the JSON report to this file",
    ),
    Setting(
        name="html",
        metavar="PATH",
        in_marker=False,
        help="write the HTML report, a single self-contained page, to this file",
    ),
    Setting(
        name="markdown",
        metavar="PATH",
        in_marker=False,
        help="write the Markdown report to this file, with the worst cases first",
    ),
    Setting(
        name="bmf",
        metavar="PATH",
        in_marker=False,
        help="write the quantities of each case in Bencher Metric Format to this file",
    ),
    Setting(
        name="openmetrics",
        metavar="PATH",
        in_marker=False,
        help="write the quantities of each case as OpenMetrics text to this file",
    ),
    Setting(
        name="badge",
        metavar="PATH",
        in_marker=False,
        help="write the JSON of a badge, for the endpoint of shields.io, to this file",
    ),
    Setting(
        name="issues",
        metavar="PATH",
        in_marker=False,
        help="write the issues of the run to this file, as JSON with a title and a text for each "
        "case that failed or passed",
    ),
    Setting(
        name="step_summary",
        metavar="on|off",
        in_marker=False,
        help="on GitHub Actions, add the Markdown report to the job's summary (default: on)",
    ),
)
# The settings that are paths of reports.
REPORTS = ("json", "html", "markdown", "bmf", "openmetrics", "badge", "issues")
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}
