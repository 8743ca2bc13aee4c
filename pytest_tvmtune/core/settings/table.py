"""The settings of a run and of a test: their names, their help, and where each may be given.

Every pytest session reads this table, so it imports nothing; what parses a setting's values is in
settings.parsing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table in docs/reference.md: a name that works at several levels.

    singular: the name of an option and ini key that give one of what the marker gives all of.
    is_switch: whether its option takes no value.
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
        help="what to compile for: a kind, 'llvm -mcpu=znver4', JSON, or 'host' (llvm for this "
        "CPU); repeatable, one test item a target. Default: TVM_TEST_TARGETS, else llvm",
    ),
    Setting(
        name="trials",
        metavar="N",
        help="tuning trials for a whole model, 0 = never tune (default: 64)",
    ),
    Setting(
        name="max_trials_per_task",
        metavar="N",
        help="most trials for one task (default: no cap, every task gets its share)",
    ),
    Setting(
        name="prepack",
        metavar="off|on|both",
        help="cpu_weight_prepack; 'both' makes two test items (default: off)",
    ),
    Setting(
        name="work_dir",
        metavar="DIR",
        help="a stock MetaSchedule work_dir: its records are taken in before, and the model's "
        "written out to it after",
    ),
    Setting(
        name="dims",
        singular="dim",
        metavar="NAME=SIZE",
        repeatable=True,
        help="the size of a dynamic dimension, by the name that the model gives it; repeatable "
        "(default: 1, with a warning)",
    ),
    Setting(
        name="seed",
        metavar="N",
        help="seed of the search, of made-up parameters and of made-up inputs (default: 0)",
    ),
    Setting(
        name="rtol",
        on_command_line=False,
        help="relative numeric tolerance (default: by dtype)",
    ),
    Setting(
        name="atol",
        on_command_line=False,
        help="absolute numeric tolerance (default: by dtype)",
    ),
    Setting(
        name="threshold",
        metavar="3%|0.2ms",
        help="slowdown that fails a test (default: 3%%)",
    ),
    Setting(
        name="accept",
        on_command_line=False,
        help="a slowdown that is accepted on top of the threshold, with until= and reason=",
    ),
    Setting(
        name="until",
        on_command_line=False,
        help="the last day, in UTC, on which it is accepted",
    ),
    Setting(
        name="reason",
        on_command_line=False,
        help="why it is accepted; shown in every report",
    ),
    Setting(
        name="max_size_growth",
        metavar="10%",
        help="growth of the compiled library, against the baseline's, that fails a test "
        "(default: none does)",
    ),
    Setting(
        name="max_memory_growth",
        metavar="10%",
        help="the same of the memory that a call needs for what its kernels hand on and return "
        "(default: none does)",
    ),
    Setting(
        name="max_time",
        metavar="SECONDS",
        help="most time the latency gate may spend on one item, or what 20 epochs take if that is "
        "longer (default: 10)",
    ),
    Setting(
        name="cold_cache",
        is_switch=True,
        help="time every call with empty caches, as in a program that does other things between",
    ),
    Setting(
        name="num_threads",
        metavar="N",
        help="TVM runtime threads wherever a kernel runs (default: the target's num-cores)",
    ),
    Setting(
        name="timeout",
        metavar="SECONDS",
        help="most time that compiling a model, or its first run, may take (default: 600)",
    ),
    Setting(
        name="tuning",
        metavar="missing|never|refresh",
        in_marker=False,
        help="tune what was not yet served, nothing, or everything again (default: missing)",
    ),
    Setting(
        name="dir",
        metavar="DIR",
        in_marker=False,
        help="where the store lives (default: .tvmtune under the rootdir)",
    ),
    Setting(
        name="store_fallback",
        metavar="DIR",
        in_marker=False,
        repeatable=True,
        help="another store, read-only (a mounted share, a folder in git), whose tuning records "
        "are looked up after the local ones; repeatable",
    ),
    Setting(
        name="setup",
        metavar="MODULE",
        in_marker=False,
        repeatable=True,
        help="a module (dotted name or .py file) that registers operators, lowerings or functions "
        "with TVM: imported in every process that compiles, tunes or runs models; repeatable",
    ),
    Setting(
        name="collect",
        metavar="PATTERN",
        in_marker=False,
        repeatable=True,
        help="ONNX files that are tests by themselves, such as '*.onnx', or 'off'; repeatable "
        "(default: those below folders named on the command line that hold no Python file)",
    ),
    Setting(
        name="strict",
        is_switch=True,
        in_marker=False,
        help="what is unknown fails too: nothing accepted yet, inconclusive, untuned tasks",
    ),
    Setting(
        name="json",
        metavar="PATH",
        in_marker=False,
        help="write the results as JSON",
    ),
    Setting(
        name="html",
        metavar="PATH",
        in_marker=False,
        help="write the results as one self-contained HTML page",
    ),
    Setting(
        name="markdown",
        metavar="PATH",
        in_marker=False,
        help="write the results as a Markdown table, worst first",
    ),
    Setting(
        name="step_summary",
        metavar="on|off",
        in_marker=False,
        help="on GitHub Actions, add that table to the job's summary (default: on)",
    ),
)
# The settings that are paths of reports.
REPORTS = ("json", "html", "markdown")
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}
