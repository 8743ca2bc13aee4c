"""Markers, layers of options, and which of them wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.options import RunOptions, resolve_run
from pytest_tvmtune.core.settings.parsing import (
    default_of,
    parse_marker,
    parse_setting,
    parse_targets,
)
from pytest_tvmtune.core.settings.quantities import parse_threshold
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.core.settings.table import BY_NAME, SETTINGS
from pytest_tvmtune.core.settings.target_spec import parse_target

LLVM = parse_target("llvm")


def run_options(*layers: dict[str, Any]) -> RunOptions:
    return resolve_run(*layers, store_dir=Path("store"))


def test_a_marker_is_parsed_argument_by_argument() -> None:
    parsed = parse_marker(
        {
            "target": ["llvm", "llvm -mcpu=znver4"],
            "trials": 8,
            "max_trials_per_task": 2,
            "prepack": "both",
            "work_dir": "records",
            "seed": 3,
            "rtol": 1e-3,
            "atol": 0,
            "threshold": "5%",
            "max_time": "500ms",
            "cold_cache": True,
            "num_threads": 2,
            "timeout": "90s",
            "rpc": "board:9090",
            "cross_compiler": " aarch64-linux-gnu-g++ ",
        }
    )
    assert [spec.config for spec in parsed.pop("target")] == [
        {"kind": "llvm"},
        {"kind": "llvm", "mcpu": "znver4"},
    ]
    assert parsed == {
        "trials": 8,
        "max_trials_per_task": 2,
        "prepack": "both",
        "work_dir": Path("records"),
        "seed": 3,
        "rtol": 1e-3,
        "atol": 0.0,
        "threshold": parse_threshold("5%", "t"),
        "max_time": 0.5,
        "cold_cache": True,
        "num_threads": 2,
        "timeout": 90.0,
        "rpc": RpcAddress(host="board", port=9090),
        "cross_compiler": "aarch64-linux-gnu-g++",
    }


def test_none_in_a_marker_counts_as_unset() -> None:
    assert parse_marker({"trials": None, "seed": 0}) == {"seed": 0}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("trails", "trials"),
        ("max_trials_per_tasks", "max_trials_per_task"),
        ("treshold", "threshold"),
        ("cold_caches", "cold_cache"),
    ],
)
def test_a_misspelt_argument_is_told_the_right_one(name: str, hint: str) -> None:
    with pytest.raises(OptionError, match=rf"unknown argument '{name}'.*did you mean '{hint}'\?"):
        parse_marker({name: 1})


def test_an_unlike_argument_is_told_what_there_is() -> None:
    with pytest.raises(OptionError) as caught:
        parse_marker({"zzz": 1})
    assert "accepted are target, trials, max_trials_per_task, max_tuning_time, prepack" in str(
        caught.value
    )
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["tuning", "dir", "store_fallback", "strict", "json"])
def test_what_belongs_to_the_run_is_no_marker_argument(name: str) -> None:
    with pytest.raises(OptionError, match=f"unknown argument '{name}'"):
        parse_marker({name: "never"})
    assert name in BY_NAME


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trials", -1),
        ("max_trials_per_task", 0),
        ("prepack", "maybe"),
        ("prepack", 1),
        ("work_dir", ""),
        ("work_dir", 5),
        ("seed", 2**31),
        ("rtol", -1),
        ("threshold", 3),
        ("max_time", 0),
        ("cold_cache", "maybe"),
        ("cold_cache", 2),
        ("cold_cache", []),
        ("timeout", -1),
        ("num_threads", 0),
        ("num_threads", 4097),
        ("target", []),
        ("target", ""),
        ("rpc", ""),
        ("rpc", 9190),
        ("rpc", "9190"),
        ("cross_compiler", ""),
        ("cross_compiler", 1),
    ],
)
def test_a_bad_value_is_an_error_that_names_its_argument(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"^{name}: "):
        parse_marker({name: value})


def test_the_bounds_themselves_are_fine() -> None:
    good = {"trials": 0, "max_trials_per_task": 1, "seed": 2**31 - 1, "num_threads": 4096}
    assert parse_marker(good) == good


def test_prepack_takes_a_bool_too() -> None:
    assert parse_marker({"prepack": True})["prepack"] == "on"
    assert parse_marker({"prepack": False})["prepack"] == "off"
    assert parse_marker({"prepack": " Both "})["prepack"] == "both"


def test_targets_are_one_or_a_list_each_kept_once() -> None:
    assert parse_targets("llvm", "target") == (LLVM,)
    names = [spec.name for spec in parse_targets(("llvm", "cuda", {"kind": "llvm"}), "target")]
    assert names == ["llvm", "cuda"]


@pytest.mark.parametrize(
    ("text", "value"),
    [(True, True), ("true", True), ("1", True), (" Yes ", True), ("on", True),
     (False, False), ("false", False), ("0", False), ("no", False), ("OFF", False)],
)  # fmt: skip
def test_true_and_false_as_an_ini_writes_them(text: object, value: bool) -> None:
    for name in ("strict", "cold_cache"):
        assert parse_setting(name, text, f"tvm_{name}") is value


@pytest.mark.parametrize("name", ["strict", "cold_cache"])
def test_what_is_neither_true_nor_false(name: str) -> None:
    with pytest.raises(OptionError, match=f"tvm_{name}: 'maybe' is not true or false"):
        parse_setting(name, "maybe", f"tvm_{name}")


def test_the_options_that_take_no_value() -> None:
    switches = {setting.name for setting in SETTINGS if setting.is_switch}
    assert switches == {"strict", "cold_cache", "peak_memory", "roofline"}
    # Off, not unset, so that nobody below the plugin meets None.
    assert all(default_of(setting.name) is False for setting in SETTINGS if setting.is_switch)


def test_paths_know_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_setting("dir", "~/store", "--tvm-dir") == Path("/home/somebody/store")
    assert parse_setting("dir", Path("a"), "--tvm-dir") == Path("a")


def test_one_name_gives_flag_and_ini_key() -> None:
    setting = BY_NAME["max_trials_per_task"]
    assert (setting.flag, setting.ini) == ("--tvm-max-trials-per-task", "tvm_max_trials_per_task")
    assert len(BY_NAME) == len(SETTINGS)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_default_is_itself_an_accepted_value(name: str) -> None:
    default = default_of(name)
    if default is not None:
        assert parse_setting(name, default, "default") == default


# One that is not the default for every setting of a case, and a second one.
OTHER = {
    "trials": (1, 2),
    "max_trials_per_task": (3, 4),
    "max_tuning_time": (15.0, 16.0),
    "work_dir": (Path("a"), Path("b")),
    "seed": (5, 6),
    "rtol": (0.1, 0.2),
    "atol": (0.3, 0.4),
    "threshold": (parse_threshold("7%", "t"), parse_threshold("8%", "t")),
    "max_time": (8.0, 9.0),
    "num_threads": (11, 12),
    "timeout": (13.0, 14.0),
}
FIELDS = {
    "max_time": "max_time_s",
    "max_tuning_time": "max_tuning_time_s",
    "timeout": "timeout_s",
}


@pytest.mark.parametrize("name", OTHER)
def test_marker_beats_option_beats_ini_beats_default(name: str) -> None:
    first, second = OTHER[name]
    third = default_of(name)
    field = FIELDS.get(name, name)

    def resolved(marker: dict[str, Any], *layers: dict[str, Any]) -> Any:
        options = run_options(*layers).case_options(marker, target=LLVM, prepack=False)
        return getattr(options, field)

    assert resolved({name: first}, {name: second}, {name: second}) == first
    assert resolved({}, {name: first}, {name: second}) == first
    assert resolved({}, {name: None}, {name: second}) == second
    assert resolved({}, {}, {}) == third
    assert first != third != second


@pytest.mark.parametrize(
    ("marker", "option", "ini", "cold"),
    [
        (None, None, None, False),
        (None, None, True, True),
        (None, None, False, False),
        (None, True, False, True),
        (True, None, False, True),
        (True, None, None, True),
        # An option can't say false, a marker can.
        (False, True, True, False),
        (False, None, True, False),
    ],
)
def test_a_marker_can_switch_cold_caches_off_again(
    marker: bool | None, option: bool | None, ini: bool | None, cold: bool
) -> None:
    run = run_options({"cold_cache": option}, {"cold_cache": ini})
    parsed = parse_marker({"cold_cache": marker})
    assert run.case_options(parsed, target=LLVM, prepack=False).cold_cache is cold


def test_zero_and_false_are_set() -> None:
    options = run_options({"trials": 0, "strict": False}, {"trials": 5, "strict": True})
    assert options.strict is False
    assert options.case_options({}, target=LLVM, prepack=False).trials == 0
    marked = options.case_options({"seed": 0, "rtol": 0.0}, target=LLVM, prepack=False)
    assert (marked.seed, marked.rtol) == (0, 0.0)


def test_what_holds_for_the_run_reaches_the_case_but_not_from_its_marker() -> None:
    run = run_options({"tuning": "never"})
    case = run.case_options({"tuning": "refresh"}, target=LLVM, prepack=True)
    assert (case.tuning, case.prepack, case.target) == ("never", True, LLVM)


def test_settings_of_the_run_are_fields() -> None:
    run = run_options({"json": Path("x")}, {"tuning": "refresh"})
    assert (run.json, run.tuning, run.strict, run.html) == (Path("x"), "refresh", False, None)


def test_the_targets_asked_for_are_those_of_the_first_layer_with_any() -> None:
    cuda = parse_target("cuda")
    assert run_options({}, {}).asked_targets is None
    assert run_options({"target": None}, {"target": (cuda,)}).asked_targets == (cuda,)
    assert run_options({"target": (LLVM,)}, {"target": (cuda,)}).asked_targets == (LLVM,)
