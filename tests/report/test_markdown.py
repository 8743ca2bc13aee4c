"""The Markdown report: its table, its order, and that nothing in it becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.core.settings.accepted_slowdown import Acceptance
from pytest_tvmtune.report.json_report import make_report
from pytest_tvmtune.report.markdown_report import markdown_report
from pytest_tvmtune.report.report_files import append_step_summary
from tests.support.sample_nights import night
from tests.support.sample_report import HOSTILE, MACHINE, sample_case, sample_report

# GitHub's own: a pipe that isn't escaped ends a cell, also within code.
CELL_END = re.compile(r"(?<!\\)\|")


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of cases, without headings."""
    tables = re.findall(r"^\| Change .*\n\|:.*\n((?:\| .*\n?)*)", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in CELL_END.split(line)[1:-1]] for line in lines]


def report_of(*cases: CaseResult) -> dict[str, Any]:
    return make_report(to_json_values(cases), MACHINE)


def test_worst_first_with_what_passed_folded_away() -> None:
    text = markdown_report(sample_report())
    assert text.startswith("### tvmtune: 3 failed of 9 cases\n")
    assert [(row[0], row[5]) for row in rows(text)] == [
        ("**WRONG NUMBERS**", "`silero[llvm-prepack]`"),
        ("`+` **REGRESSION**", "`cnn[llvm-prepack]`"),
        ("**FAILED**", "`lstm[llvm]`"),
        ("INCONCLUSIVE", "`bert_tiny[llvm-prepack]`"),
        ("NEW", "`ocr_det[llvm-prepack]`"),
        ("`-` IMPROVEMENT", "`magika[llvm]`"),
        ("PASS", f"`{HOSTILE}[llvm]`"),
        ("PASS", "`mlp[llvm]`"),
        ("PASS", "`ocr_cls[llvm]`"),
    ]
    assert rows(text)[-1][3] == "same code"
    folded = text.index("<summary>3 cases passed</summary>")
    assert text.index("`magika[llvm]`") < folded < text.index("`mlp[llvm]`")
    assert text.index("<code>cnn[llvm-prepack]</code>") < text.index("1.19x slower")


def test_kernels_and_quantities_are_folded() -> None:
    text = markdown_report(sample_report())
    kernels = text.index("<summary>Kernels of <code>cnn[llvm-prepack]</code></summary>")
    quantities = text.index("<summary>Sizes, numbers of kernels, and times to compile</summary>")
    assert kernels < quantities < text.index("Measured on ")
    slowest, *_others = re.findall(r"^\| `fused.*$", text[kernels:quantities], re.MULTILINE)
    assert [cell.strip() for cell in CELL_END.split(slowest)[1:-1]] == [
        "`fused_conv2d_add_relu`", "478 us", "10.0 %", "6", "2", "2.0 %", "compute"
    ]  # fmt: skip
    assert len(_others) == 4
    assert "measured peak with 2 threads: 300 GFLOP/s" in text
    line = "- `mlp[llvm]`: library 123 kB, workspace memory 4.1 kB, number of kernels 31, time"
    assert f"{line} to compile 1.25 s, time of a tuning trial 250 ms\n" in text


def test_before_after_ratio_and_interval() -> None:
    latency = LatencyResult(
        verdict="REGRESSION", message="", median_s=1.2e-3, baseline_median_s=1e-3,
        slowdown_ratio=1.2, interval=(1.1, 1.3),
    )  # fmt: skip
    case = replace(sample_case(0), latency=latency)
    (row,) = rows(markdown_report(report_of(case)))
    assert row[1:4] == ["1 ms", "1.2 ms", "1.200 (1.100 to 1.300)"]
    bare = replace(case, latency=replace(latency, interval=None))
    assert rows(markdown_report(report_of(bare)))[0][3] == "1.200"
    untimed = replace(case, latency=None)
    assert rows(markdown_report(report_of(untimed)))[0][:4] == ["not timed", "", "", ""]


def test_a_slower_case_has_its_kernels_its_drift_and_how_to_accept_it() -> None:
    text = markdown_report(night("worse"))
    assert rows(text)[0][3:5] == ["1.428 (1.415 to 1.433)", "1.434"]
    (inside,) = re.findall(
        r"<summary><code>cnn\[llvm-prepack\]</code>.*?</details>", text, re.DOTALL
    )
    assert "cause: another record is applied" in inside
    assert "| `fused_conv2d_add_relu` | 1 | 302 us | 716 us | +413 us | differs |" in inside
    assert "Drift since the anchor: REGRESSION, 1.43x slower (99 % confidence: " in inside
    assert (
        "```sh\npytest 'tests/test_models.py::test_cnn[llvm]' --tvm-update\n"
        "pytest 'tests/test_models.py::test_cnn[llvm]' --tvm-update-anchor\n```"
    ) in inside
    # The whole interval is within 1.03 times 1.40.
    assert '```python\naccept="40%", until="YYYY-MM-DD", reason="..."\n```' in inside


def test_an_acceptance_that_is_too_small_is_part_of_the_next() -> None:
    case = sample_case(1)
    assert case.latency is not None
    known = Acceptance(ratio=0.05, until="2099-01-31", reason="safer")
    wider = replace(case.latency, acceptance=known, limit_ratio=1.03 * 1.05)
    for one in (case, replace(case, latency=wider)):
        assert 'accept="16%", until=' in markdown_report(report_of(one))


def test_an_improvement_has_its_cause_and_wrong_numbers_are_never_accepted() -> None:
    faster, wrong = sample_case(2), sample_case(3)
    assert "Cause: another record is applied" in markdown_report(report_of(faster))
    for case in (faster, wrong, replace(sample_case(1), outcome="xfailed")):
        text = markdown_report(report_of(case))
        assert "accept it:" not in text
        assert "```sh" not in text


def test_nothing_becomes_markup() -> None:
    name = "a|b`c``d\n<b>@someone"
    finding = "````\n</details><script>alert(1)</script>"
    case = replace(sample_case(0), name=name, findings=[finding], outcome="failed")
    text = markdown_report(make_report(to_json_values([case]), {"cpu": "@someone <b> | `x`"}))
    (row,) = rows(text)
    assert row[5] == "``` a\\|b`c``d <b>@someone[llvm] ```"
    # Longer than any fence within.
    assert f"`````text\n{finding}\n`````" in text
    assert "<code>a|b`c``d\n&lt;b&gt;@someone[llvm]</code>" in text
    assert "`` cpu @someone <b> \\| `x` ``" in text


def test_a_report_fits_into_a_comment() -> None:
    text = markdown_report(sample_report(2000))
    assert 60_000 < len(text.encode()) <= 65_000
    assert text.startswith("### tvmtune: 667 failed of 2000 cases\n")
    assert "WRONG NUMBERS" in rows(text)[0][0]
    assert "The report is too long for this place" in text


def test_a_run_without_cases() -> None:
    assert markdown_report(make_report([], {})).startswith("### tvmtune: 0 failed of 0 cases\n")


def test_a_step_summary_is_added_to_and_stays_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("what an earlier step wrote\n", encoding="utf-8")
    append_step_summary(sample_report(), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("what an earlier step wrote\n\n### tvmtune: 3 failed of 9 cases")
    assert len(rows(text)) == 9

    many = sample_report(90)
    whole = markdown_report(many)
    for most_bytes in (len(whole.encode()), 8000, 2000, 1000, 100):
        text = markdown_report(many, most_bytes=most_bytes)
        assert len(text.encode()) <= most_bytes
        assert (text == whole) == (most_bytes == len(whole.encode()))
        if 1000 <= most_bytes < len(whole.encode()):
            assert "WRONG NUMBERS" in rows(text)[0][0]
            assert "The report is too long for this place" in text

    path.write_text("x" * (1 << 20), encoding="utf-8")
    append_step_summary(sample_report(), path)
    assert path.stat().st_size <= (1 << 20) + 1
