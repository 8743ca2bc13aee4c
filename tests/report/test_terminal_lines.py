"""The lines of the terminal, from plain values."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.comparison_result import ErrorResult, GoldenResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.results.task_result import TaskResult
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import tvm_origin
from pytest_tvmtune.report.terminal_summary import header_lines, summary_lines
from pytest_tvmtune.report.text_tables import format_seconds

TUNED = TaskResult(name="matmul", shash="0" * 16, weight=1, state="tuned")
UNTUNED = TaskResult(name="relu", shash="1" * 16, weight=1, state="untuned")
RIGHT = ErrorResult(against="numpy", passed=True, max_abs_error=1.5e-6, max_rel_error=1e-6)
WRONG = replace(RIGHT, passed=False, max_abs_error=0.5)
PASSED = LatencyResult(
    verdict="PASS",
    message="",
    median_s=1.5e-3,
    baseline_median_s=1.25e-3,
    slowdown_ratio=1.2,
)


def case(name: str = "mlp", **values: Any) -> CaseResult:
    values.setdefault("outcome", "passed")
    return CaseResult(
        name=name,
        nodeid=f"test.py::{name}",
        entry="main",
        target_name="llvm",
        target='{"kind": "llvm"}',
        **{"prepack": False, **values},
    )


def cells(result: CaseResult) -> dict[str, str]:
    """Return the row of a table by its headings. Two spaces separate columns."""
    lines = summary_lines([result])
    headings = [h for h in lines[0].split("  ") if h.strip()]
    values = [v for v in lines[1].split("  ") if v.strip()]
    return {h.strip(): v.strip() for h, v in zip(headings, values, strict=True)}


def verdict(**values: Any) -> str:
    return cells(case(**values))["verdict"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 us"),
        (1.234e-7, "0.123 us"),
        (12.34e-6, "12.3 us"),
        (999.4e-6, "999 us"),
        (999.7e-6, "1000 us"),
        (1e-3, "1 ms"),
        (4.56e-3, "4.56 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1000 ms"),
        (1.0, "1 s"),
        (1.2, "1.2 s"),
        (12.345, "12.3 s"),
        (999.9, "1000 s"),
        (12345.6, "12346 s"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_row_of_everything() -> None:
    result = case(prepack=True, tasks=[TUNED, UNTUNED], errors=[RIGHT], latency=PASSED)
    assert cells(result) == {
        "model": "mlp",
        "target": "llvm",
        "prepack": "yes",
        "tuned": "1/2",
        "max abs error": "1.5e-06",
        "now": "1.5 ms",
        "baseline": "1.25 ms",
        "ratio": "1.200",
        "verdict": "PASS",
    }


def test_a_row_of_nothing() -> None:
    row = cells(case())
    assert [row[h] for h in ("prepack", "tuned", "max abs error", "now", "baseline", "ratio")] == [
        "no", "0/0", "-", "-", "-", "-"
    ]  # fmt: skip
    assert row["verdict"] == "not timed"


def test_columns_line_up_and_no_line_ends_in_blanks() -> None:
    lines = summary_lines(
        [case("a", latency=PASSED), case("a-much-longer-name", tasks=[TUNED], errors=[RIGHT])]
    )
    start = lines[0].index("target")
    assert [line[start:].split()[0] for line in lines[:3]] == ["target", "llvm", "llvm"]
    end = lines[0].index("ratio") + len("ratio")
    assert lines[1][:end].endswith("1.200")
    assert lines[2][:end].endswith(" -")
    assert all(line == line.rstrip() for line in lines)
    assert lines[3] == ""


def test_verdicts() -> None:
    assert verdict(latency=PASSED) == "PASS"
    assert verdict(latency=replace(PASSED, same_code=True)) == "PASS"
    assert verdict(latency=replace(PASSED, verdict="NEW", accepted=True)) == "NEW, accepted"
    regression = replace(PASSED, verdict="REGRESSION")
    assert verdict(latency=replace(regression, accepted=True)) == "REGRESSION, accepted"
    # What failed is not its latency.
    assert verdict(outcome="failed", latency=PASSED) == "PASS, test failed"
    assert verdict(outcome="failed", latency=regression) == "REGRESSION"
    same = replace(PASSED, same_code=True)
    assert verdict(outcome="failed", latency=same) == "PASS, test failed"
    assert verdict(findings=["x"], latency=replace(PASSED, verdict="REGRESSION")) == "REGRESSION"
    assert verdict(findings=["x"], errors=[RIGHT, WRONG]) == "WRONG NUMBERS"
    assert verdict(findings=["x"], errors=[WRONG], latency=PASSED) == "WRONG NUMBERS"
    assert verdict(findings=["x"], errors=[RIGHT], latency=PASSED) == "FAILED"


def test_the_same_code_has_no_ratio() -> None:
    """The time of the baseline was measured when it was accepted."""
    same = LatencyResult(
        verdict="PASS",
        message="same code as the baseline",
        median_s=1.5e-3,
        baseline_median_s=1.25e-3,
        accepted_median_s=1.25e-3,
        accepted_on={"cpu": "a CPU", "at": "2024-01-01T00:00:00Z"},
        same_code=True,
    )
    row = cells(case(latency=same))
    assert (row["now"], row["baseline"], row["ratio"]) == ("1.5 ms", "1.25 ms", "same code")
    assert row["verdict"] == "PASS"


def test_what_was_accepted_elsewhere_is_not_what_was_measured_here() -> None:
    moved = replace(PASSED, accepted_median_s=9e-3, accepted_on={"cpu": "another CPU"})
    assert cells(case(latency=moved))["baseline"] == "1.25 ms"


def test_verbose_has_a_line_for_each_output() -> None:
    want = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    got = (want, want + np.float32(0.5), np.array([1, 3]))
    expected = (want, want, np.array([1, 2]))
    outputs = {"output[1]": {"atol": 0.1, "rtol": 0.0, "statistic": "mean"}}
    wrong = compare(got, expected, against="numpy", outputs=outputs)
    result = case(errors=[wrong])
    lines = summary_lines([result], verbose=True)
    assert [line for line in lines if "against" in line] == [
        (
            "mlp[llvm]: against numpy: output[2] int64[2]: max abs 1, max rel 0.5, "
            "1 of 2 beyond the tolerance"
        ),
        (
            "mlp[llvm]: against numpy: output[1] float32[2, 2]: max abs 0.5, max rel 0.5, max ULP "
            "4.2e+06, 4 of 4 beyond the tolerance, mean 0.5, limit 0.1"
        ),
        "mlp[llvm]: against numpy: output[0] float32[2, 2]: equal",
    ]
    assert "against" not in "\n".join(summary_lines([result]))
    many = compare((want,) * 20, (want,) * 20, against="numpy")
    lines = summary_lines([case(errors=[many])], verbose=True)
    assert "mlp[llvm]: against numpy: 12 more outputs" in lines
    assert sum("equal" in line for line in lines) == 8


def test_an_error_without_bound_still_has_a_cell() -> None:
    assert cells(case(errors=[replace(WRONG, max_abs_error=math.inf)]))["max abs error"] == "inf"


def footer(*results: CaseResult, verbose: bool = False) -> list[str]:
    lines = summary_lines(results, verbose=verbose)
    return lines[lines.index("") + 1 :]


def test_the_counts_are_a_line() -> None:
    lines = footer(
        case("a", latency=PASSED, tuned_now=True, trials_spent=8, tuning_s=1.25),
        case("b", latency=PASSED, compiled_now=True, compile_s=2.0, outcome="failed"),
        case("c", latency=replace(PASSED, verdict="IMPROVEMENT"), tuned_now=True, trials_spent=4,
             tuning_s=1.25),
        case("d"),
    )  # fmt: skip
    assert lines == [
        (
            "4 cases, 1 failed: 1 IMPROVEMENT, 2 PASS, 1 not timed; tuned 2 cases (12 trials, "
            "2.5 s), compiled 1 (2.0 s), accepted 0 baselines"
        )
    ]
    warm = case(latency=PASSED)
    assert footer(warm) == [
        "1 case, 0 failed: 1 PASS; tuned 0 cases, compiled 0, accepted 0 baselines"
    ]


def test_the_worst_verdict_is_counted_first() -> None:
    slower = replace(PASSED, verdict="REGRESSION")
    later: Any = {"verdict": "DRIFT"}
    line, *_ = footer(
        case("a", latency=PASSED),
        case("b", latency=slower, findings=["slower"], outcome="failed"),
        case("c", errors=[WRONG], findings=["wrong numbers"], outcome="xfailed"),
        case("d", latency=replace(PASSED, **later), outcome="skipped"),
    )
    assert line.partition(";")[0] == (
        "4 cases, 1 failed, 1 skipped, 1 xfailed: 1 WRONG NUMBERS, 1 REGRESSION, 1 PASS, 1 DRIFT"
    )


MEASURED = replace(
    PASSED,
    message="1.20x slower (98 % confidence: 1.19x to 1.21x), limit 1.03x",
    epochs=14,
    pairs=98,
    spent_s=1.25,
    noise=0.0123,
    num_threads=4,
    accepted_median_s=0.9e-3,
    accepted_on={"cpu": "a CPU", "tvm": "0.27.0", "at": "2024-01-01T00:00:00Z"},
)


def details(*results: CaseResult) -> list[str]:
    """Return what a verbose run says more."""
    plain, verbose = summary_lines(results), summary_lines(results, verbose=True)
    start = plain.index("") + 1
    # The table before it and the counts after it stay.
    more = len(verbose) - len(plain)
    assert verbose[:start] + verbose[start + more :] == plain
    return verbose[start : start + more]


def test_a_verbose_run_says_how_each_case_was_timed() -> None:
    lines = details(case("a", latency=MEASURED), case("b"), case("c", latency=MEASURED))
    assert lines[:3] == [
        "a[llvm]: 1.20x slower (98 % confidence: 1.19x to 1.21x), limit 1.03x",
        "  14 epochs, 98 pairs in 1.2 s, noise 1.2 % per epoch, 4 threads",
        (
            "  accepted with 900 us at 2024-01-01T00:00:00Z, on a CPU, TVM 0.27.0 "
            "(for information only)"
        ),
    ]
    # Nothing was timed in b.
    assert [line.partition(":")[0] for line in lines[3:]] == ["c[llvm]", *(
        line.partition(":")[0] for line in lines[1:3]
    )]  # fmt: skip


def test_a_verbose_run_says_no_more_than_there_is() -> None:
    new = LatencyResult(verdict="NEW", message="no baseline yet", median_s=1e-3)
    assert details(case("a", latency=new, prepack=True)) == ["a[llvm-prepack]: no baseline yet"]
    same = replace(MEASURED, epochs=0, pairs=0, noise=None, same_code=True, message="same code")
    assert [line[:10] for line in details(case("a", latency=same))] == ["a[llvm]: s", "  accepted"]
    assert details(case("a")) == []


def test_a_verbose_run_says_what_else_it_did() -> None:
    cases = [
        case("a", prepack=True, transform_s=0.25, transform_extra_bytes=1_500_000),
        case("b", prepack=True, transform_s=0.5, transform_extra_bytes=1_000_000),
        case("c", tasks_restored=["a", "b"]),
    ]
    assert footer(*cases, verbose=True)[1:] == [
        (
            "transformed the parameters of 2 prepacked cases in 750 ms, using 2.5 MB more memory "
            "(not part of the latency)"
        ),
        "took the records of 2 tasks from the baselines, because the store had none",
    ]
    assert footer(*cases)[1:] == [
        "took the records of 2 tasks from the baselines, because the store had none"
    ]


def test_a_verdict_that_fails_a_strict_run_is_counted() -> None:
    noisy = LatencyResult(verdict="INCONCLUSIVE", message="")
    cases = [case("a", latency=noisy, findings=["noisy"], outcome="failed"), case("b")]
    assert ": 1 FAILED (1 INCONCLUSIVE), 1 not timed; " in footer(*cases)[0]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (case(tasks_left_out=["a", "b"]), "2 tasks got no trial: raise --tvm-trials"),
        (
            case(golden=GoldenResult(path="a.npz", state="new")),
            "1 case without golden outputs: write them with --tvm-update-new",
        ),
        (
            case(golden=GoldenResult(path="a.npz", state="written")),
            "wrote golden outputs: review and commit a.npz",
        ),
        (
            case(latency=replace(PASSED, verdict="REGRESSION")),
            "REGRESSION: if you intend it, accept it with --tvm-update",
        ),
        (
            case(latency=replace(PASSED, verdict="INCONCLUSIVE")),
            "INCONCLUSIVE: raise --tvm-max-time, or use a quieter machine",
        ),
    ],
)
def test_what_to_do_next_is_said_only_where_it_helps(result: CaseResult, said: str) -> None:
    assert footer(result)[1:] == [said]
    assert footer(case(latency=PASSED))[1:] == []


def test_a_new_case_is_accepted_with_an_option() -> None:
    (line,) = footer(case(latency=replace(PASSED, verdict="NEW")))
    assert line.endswith(", accepted 0 baselines (accept 1 new baseline with --tvm-update-new)")
    (line,) = footer(case(latency=replace(PASSED, verdict="NEW", accepted=True)))
    assert line.endswith(", accepted 1 baseline")


def test_no_case_at_all() -> None:
    assert footer() == ["0 cases, 0 failed; tuned 0 cases, compiled 0, accepted 0 baselines"]


def header(**values: Any) -> list[str]:
    known: dict[str, Any] = {
        "targets": [("llvm", '{"num-cores": 1}')],
        "store": Path("/tmp/store"),
        "tuning": "missing",
        "trials": [64],
        "max_times_s": [10.0],
        "gated_items": 1,
    }
    return header_lines(**known | values)


def test_the_header_is_a_line() -> None:
    machine = fingerprint()
    cores = f"{machine.usable_cores} core{'s' * (machine.usable_cores > 1)}"
    start = f"tvmtune: apache-tvm {machine.tvm}, {cores}"
    assert header() == [f"{start}, target llvm, trials 64, 1 item"]
    targets = [("llvm-1", "{1}"), ("llvm", '{"num-cores": 1}'), ("llvm", '{"num-cores": 2}')]
    assert header(targets=targets, trials=[0, 8], tuning="never", gated_items=20) == [
        f"{start}, targets llvm-1, llvm, trials 0, 8 (tuning=never), 20 items"
    ]


def test_the_header_names_what_a_generic_target_leaves_unused() -> None:
    hint = (
        "tvmtune: target llvm runs on any x86 CPU, and doesn't use avx2, fma of this CPU; to "
        "measure code that does, use --tvm-target=host"
    )
    assert header(unused=["avx2", "fma"])[1:] == [hint]
    assert header(unused=["avx2", "fma"], verbose=True).count(hint) == 1


def test_a_verbose_header_describes_everything() -> None:
    lines = header(
        targets=[("llvm-1", "{1}"), ("llvm", '{"num-cores": 1}'), ("llvm", '{"num-cores": 2}')],
        tuning="never",
        trials=[0, 8],
        max_times_s=[0.5, 10.0],
        gated_items=20,
        verbose=True,
    )
    machine = fingerprint()
    versions = f"tvmtune: apache-tvm {machine.tvm}, apache-tvm-ffi {machine.tvm_ffi}, "
    assert lines[0].startswith(versions)
    assert re.search(rf" {machine.usable_cores} usable cores?, {re.escape(machine.cpu)}$", lines[0])
    assert lines[1:] == [
        f"tvmtune: TVM in {tvm_origin().path}",
        "tvmtune: target llvm-1 = {1}",
        'tvmtune: target llvm = {"num-cores": 1}, other tests with num-cores 2',
        "tvmtune: trials 0, 8 (tuning=never), store /tmp/store",
        (
            "tvmtune: gate: 20 items, false alarms in at most 1 % of runs; each item takes at "
            "least 14 epochs and at most 0.5 or 10 s (slow models: 28 epochs, without a time limit)"
        ),
    ]


@pytest.mark.parametrize(("items", "fewest", "least"), [(1, 9, 20), (100, 17, 34)])
def test_the_header_counts_epochs_by_what_is_gated(items: int, fewest: int, least: int) -> None:
    line = header(gated_items=items, verbose=True)[-1]
    assert f"gate: {items} item{'s' * (items > 1)}, " in line
    assert f"at least {fewest} epochs and at most 10 s (slow models: {least} epochs" in line


def test_cases_with_wrong_numbers_or_of_failed_tests_lack_no_baseline() -> None:
    new = replace(PASSED, verdict="NEW")
    wrong = case(latency=new, findings=["wrong numbers"], outcome="failed")
    failed = case(latency=new, outcome="failed")
    expected = case(latency=new, findings=["wrong numbers"], outcome="xfailed")
    assert "--tvm-update-new" not in "\n".join(footer(wrong, failed, expected))
    slower = replace(PASSED, verdict="REGRESSION")
    assert footer(case(latency=slower, findings=["slower"], outcome="xfailed"))[1:] == []
    assert footer(case(latency=replace(slower, accepted=True)))[1:] == []


def test_repetitions_of_a_test_have_one_baseline() -> None:
    new = replace(PASSED, verdict="NEW")
    both = [case(latency=new, baseline="a.json") for _ in range(2)]
    (line,) = footer(*both)
    assert line.endswith("(accept 1 new baseline with --tvm-update-new)")
    accepted = [replace(one, latency=replace(new, accepted=True)) for one in both]
    (line,) = footer(*accepted)
    assert line.endswith("accepted 1 baseline")


def test_the_table_shows_the_parameters_of_tests() -> None:
    lines = summary_lines([case(params="relu-8"), case(params="")])
    assert [line.split()[0] for line in lines[1:3]] == ["mlp[relu-8]", "mlp"]


def test_earlier_attempts_are_shown_when_verbose() -> None:
    again = case(attempts=2, earlier_findings=["mlp[llvm]: slower\n  cause: another record"])
    assert "mlp[llvm]:   before: mlp[llvm]: slower" in summary_lines([again], verbose=True)
    assert not any("attempt" in line for line in summary_lines([again]))
