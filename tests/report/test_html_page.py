"""The HTML report as text: what it is made from, what it escapes, what it refuses."""

from __future__ import annotations

import json
import math
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import ReportError
from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.report.html_report import html_report
from pytest_tvmtune.report.json_report import SCHEMA_VERSION, make_report
from tests.support.sample_report import HOSTILE, MACHINE, sample_case, sample_report


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_it_is_made_from_the_json_text_alone() -> None:
    report = sample_report()
    assert html_report(json.loads(json.dumps(report))) == html_report(report)


def test_all_that_a_case_came_to_is_there() -> None:
    page = Page(html_report(sample_report()))
    assert len([one for one in page.all("tbody") if "case" in str(one.get("class"))]) == 9
    for words in (
        "3 failed of 9 cases", "1.19x slower", "another record is applied", "unsupported operator",
        "first diverging kernel: fused_conv2d_relu", "l1, l2 = sch.get_loops(block=b0)",
        "fused_conv2d8_add_relu", "rtol 0.0001", "znver4", "A CPU @ 2.00GHz", "24 epochs",
        "silero-plain", "best latency by trial", "REGRESSION: if you intend it", "0.27.0.post1",
        "same code", "number of kernels", "300 GFLOP/s", "GFLOP/s of each kernel under the peak",
        "fused_conv2d1_add_relu: 215 us, 8.0 % of the peak (compute)", "tuning in this run",
    ):  # fmt: skip
        assert words in page.text, words


def test_hostile_texts_stay_text() -> None:
    case = sample_case(1)
    for name in ("name", "nodeid", "entry", "target_name", "target"):
        setattr(case, name, f'"><script>{name}</script>')
    case.findings = case.warnings = [HOSTILE]
    case.logs = {HOSTILE: "javascript:alert(1)", "x": f"/{HOSTILE}"}
    page = Page(html_report(make_report(to_json_values([case]), {HOSTILE: HOSTILE})))
    assert len(page.all("script")) == 1
    assert not [one for one in page.all("a") if str(one["href"]).startswith("javascript:")]
    assert HOSTILE in page.text


def test_it_loads_nothing_and_runs_its_own_script_only() -> None:
    page = Page(html_report(sample_report()))
    addresses = [one.get(key) for _, one in page.tags for key in ("src", "href") if one.get(key)]
    assert not [address for address in addresses if str(address).startswith(("http", "//"))]
    assert not [one for _, one in page.tags if any(key.startswith("on") for key in one)]
    assert not [one for _, one in page.tags if "style" in one]
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert str(policy).startswith("default-src 'none'; ")
    assert "unsafe" not in str(policy)


def test_links_are_relative_to_where_the_page_stands(tmp_path: Path) -> None:
    case = sample_case(0)
    case.logs = {"gate": str(tmp_path / "store" / "a log#1.log")}
    report = make_report(to_json_values([case]), {})

    def links(**options: Any) -> list[str | None]:
        found = Page(html_report(report, **options)).all("a")
        return [one["href"] for one in found if not str(one["href"]).startswith("#")]

    assert links(links_from=tmp_path / "reports") == ["../store/a%20log%231.log"]
    assert links() == [f"{tmp_path.as_uri()}/store/a%20log%231.log"]
    # No UTF-8, as the paths of a folder `ü` are where the locale is C.
    case.logs = {"gate": str(tmp_path / os.fsdecode(b"b\xfcro"))}
    report = make_report(to_json_values([case]), {})
    assert links(links_from=tmp_path) == ["b%FCro"]


def test_what_was_not_measured_or_is_no_number() -> None:
    bare = CaseResult(
        name="bare", nodeid="t.py::a", entry="", target_name="llvm", target="{}", prepack=False
    )
    odd = sample_case(2)
    odd.errors[0] = odd.errors[0].__class__(
        against="x", passed=False, max_abs_error=math.nan, max_rel_error=math.inf
    )
    latency = LatencyResult(
        verdict="INCONCLUSIVE",
        message="",
        slowdown_ratio=1.5,
        epoch_ratios=(1.5,),
        samples_s=(1e-3,),
        baseline_samples_s=(1e-3,),
    )
    single = sample_case(3)
    single.latency = latency
    html = html_report(make_report(to_json_values([bare, odd, single]), MACHINE))
    cells = {"nan", "inf", "None"}
    assert not [cell for cell in cells if f">{cell}<" in html or f'"{cell}"' in html]


def test_a_thousand_cases_stay_below_20_mb() -> None:
    assert len(html_report(sample_report(90)).encode()) / 90 * 1000 < 20e6


def test_a_page_without_cases() -> None:
    assert "0 failed of 0 cases" in Page(html_report(make_report([], {}))).text


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({}, "not a report of pytest-tvmtune: its `schema` is None"),
        ({"schema": "other", "version": 1}, "its `schema` is 'other', not 'pytest-tvmtune'"),
        (
            {**make_report([], {}), "version": SCHEMA_VERSION + 1},
            f"the report has version {SCHEMA_VERSION + 1}, and this pytest-tvmtune reads versions",
        ),
        (
            {**make_report([], {}), "cases": None},
            "the report is damaged: Expected `array`, got `null` - at `.*cases`",
        ),
        ({**make_report([], {}), "cases": [{"name": "a"}]}, "the report is damaged: .*cases"),
        (
            {"schema": "pytest-tvmtune", "version": 1},
            "the report is damaged: Object missing required field",
        ),
    ],
)
def test_what_is_no_report_is_refused(report: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        html_report(report)
