"""The result of `tvmtune vet` as text, and as a page."""

from __future__ import annotations

from dataclasses import replace

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.gating.verdict import Verdict
from pytest_tvmtune.core.json_codec import finite, from_json, to_json, to_json_values
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.vetting.vet_report import (
    ComparedSides,
    SidesComparison,
    VetReport,
    VettedCase,
    VettedEnvironment,
)
from pytest_tvmtune.report.vet_html import vet_page
from pytest_tvmtune.report.vet_text import case_cells, vet_lines
from tests.support.schemas import validate_vet_report


def made(
    sides: ComparedSides, ratio: float, verdict: Verdict, *, same_code: bool = False
) -> SidesComparison:
    latency = LatencyResult(
        verdict=verdict,
        message=f"measured {ratio}",
        median_s=1e-3 * ratio,
        baseline_median_s=1e-3,
        slowdown_ratio=ratio,
    )
    numbers = ErrorResult(against="old", passed=True, max_abs_error=0.0, max_rel_error=0.0)
    return SidesComparison(sides=sides, same_code=same_code, latency=latency, numbers=numbers)


SLOWER = VettedCase(
    label="mlp[llvm]",
    nodeid="test_mlp.py::test_mlp[llvm]",
    name="mlp",
    schedules="untuned",
    comparisons=(
        made("old and new", 1.25, "REGRESSION"),
        made("runtime", 1.01, "PASS"),
        made("generated code", 1.24, "REGRESSION"),
    ),
    slower_part="generated code",
    divergence=Divergence(kind="none", against="<old>", kernel="add", calls=2, compared=2),
    findings=("mlp[llvm]: 1.25x slower <b>",),
)
OLD = VettedEnvironment(
    python="old/python",
    tvm="/old/tvm",
    tvm_version="0.26.0",
    tvm_revision="",
    tvm_identity="0123456789abcdef" * 4,
    ffi_version="0.1.13",
    exit_code=0,
)
REPORT = VetReport(
    schema="pytest-tvmtune-vet",
    version=1,
    created_at="2026-01-02T03:04:05Z",
    plugin="1.0",
    arguments=("tests",),
    cpu="a CPU",
    old=OLD,
    new=replace(OLD, tvm="/new/tvm", tvm_version="", tvm_revision="1a2b3c"),
    cases=(SLOWER,),
    findings=SLOWER.findings,
    notes=("nothing tuned",),
)


def test_the_table() -> None:
    headings = (
        "case       schedules  numbers   old      new  new/old  verdict     runtime       "
        "code                       slower"
    )
    row = (
        "mlp[llvm]  untuned    equal    1 ms  1.25 ms    1.250  REGRESSION  1.01x slower  "
        "1.24x slower (REGRESSION)  generated code"
    )
    assert vet_lines(REPORT) == [
        "old: TVM 0.26.0, ffi 0.1.13 (/old/tvm, identity 0123456789ab)",
        "new: TVM of no known version, git 1a2b3c, ffi 0.1.13 (/new/tvm, identity 0123456789ab)",
        "",
        headings,
        row,
        "",
        "note: nothing tuned",
        "",
        "mlp[llvm]: 1.25x slower <b>",
        "",
        "1 case, 1 finding",
    ]


def test_the_same_code_and_no_decision() -> None:
    whole = made("old and new", 1.0, "INCONCLUSIVE", same_code=True)
    case = replace(SLOWER, comparisons=(whole, replace(whole, sides="runtime")), slower_part="")
    cells = case_cells(case)
    assert cells[6:] == ("INCONCLUSIVE", "1.00x slower (INCONCLUSIVE)", "same code", "-")
    undecided = replace(REPORT, cases=(case,), findings=())
    assert vet_lines(undecided)[-1] == "1 case, 0 findings, 1 comparison undecided"


def test_what_could_not_be_run() -> None:
    failed = SidesComparison(sides="old and new", same_code=False, problem="it crashed")
    wrong = ErrorResult(against="old", passed=False, max_abs_error=1.0, max_rel_error=1.0)
    cells = case_cells(replace(SLOWER, comparisons=(failed,), slower_part=""))
    assert cells[2:] == ("-", "-", "-", "-", "FAILED", "-", "-", "-")
    cells = case_cells(replace(SLOWER, comparisons=(replace(failed, numbers=wrong),)))
    assert cells[2] == "DIFFER"
    assert case_cells(replace(SLOWER, comparisons=()))[6] == "FAILED"


def test_the_page() -> None:
    page = vet_page(REPORT)
    assert "<b>" not in page.partition("</header>")[2].replace("&lt;b&gt;", "")
    assert "1.24x slower (REGRESSION)" in page
    assert "no kernel diverges from &lt;old&gt;" in page
    assert "generated code: measured 1.24" in page
    assert "script-src" not in page


def test_the_json_is_read_back_and_keeps_the_schema() -> None:
    assert from_json(to_json(REPORT), VetReport) == REPORT
    validate_vet_report(finite(to_json_values(REPORT)))
