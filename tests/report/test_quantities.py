"""Each quantity of a case is in every report, under one name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pytest_tvmtune.core.json_codec import to_json_values
from pytest_tvmtune.core.results.case_quantities import QUANTITIES, Quantity
from pytest_tvmtune.plugin.benchmark_bridge import extra_info
from pytest_tvmtune.report.exports.bencher_metrics import bencher_metrics
from pytest_tvmtune.report.exports.openmetrics import openmetrics
from pytest_tvmtune.report.html_report import html_report
from pytest_tvmtune.report.json_report import make_report
from pytest_tvmtune.report.junit_properties import junit_properties
from pytest_tvmtune.report.markdown_report import markdown_report
from pytest_tvmtune.report.quantity_words import QuantityWords, quantities_of
from pytest_tvmtune.report.terminal_summary import summary_lines
from tests.support.sample_report import MACHINE, sample_case

CASE = replace(
    sample_case(0),
    library_bytes=1_110_000,
    baseline_library_bytes=2_110_000,
    workspace_bytes=1_120_000,
    baseline_workspace_bytes=2_120_000,
    kernel_calls=113,
    baseline_kernel_calls=213,
    peak_memory_bytes=1_140_000,
    baseline_peak_memory_bytes=2_140_000,
    library_compile_s=1.15,
    baseline_library_compile_s=2.15,
    trial_s=1.16,
    baseline_trial_s=2.16,
)
# The field, its values in words, and the metric of OpenMetrics.
WORDS = {
    "library_bytes": ("1.11 MB", "2.11 MB", "tvmtune_library_bytes"),
    "workspace_bytes": ("1.12 MB", "2.12 MB", "tvmtune_workspace_bytes"),
    "kernel_calls": ("113", "213", "tvmtune_kernel_calls"),
    "peak_memory_bytes": ("1.14 MB", "2.14 MB", "tvmtune_peak_memory_bytes"),
    "library_compile_s": ("1.15 s", "2.15 s", "tvmtune_library_compile_seconds"),
    "trial_s": ("1.16 s", "2.16 s", "tvmtune_trial_seconds"),
}


@pytest.mark.parametrize("one", QUANTITIES, ids=lambda one: one.field)
def test_each_quantity_is_in_each_report(one: Quantity) -> None:
    now, before, metric = WORDS[one.field]
    value = one.now(CASE)
    report = make_report(to_json_values([CASE]), MACHINE)
    (case,) = report["cases"]
    assert (case[one.field], case[f"baseline_{one.field}"]) == (value, one.before(CASE))
    words = f"{one.what} {now} (baseline {before})"
    assert words in "\n".join(summary_lines([CASE], verbose=True))
    assert words in markdown_report(report)
    row = f"<dt>{one.what}</dt><dd>{now}, baseline {before}</dd>"
    assert row in html_report(report)
    assert dict(junit_properties([CASE]))[f"tvmtune.{one.field}"] == str(value)
    families = text_string_to_metric_families(openmetrics(report))
    assert [s.value for f in families for s in f.samples if s.name == metric] == [value]
    (measures,) = json.loads(bencher_metrics(report)).values()
    assert measures[one.slug] == {"value": value}
    assert extra_info(CASE)[one.field] == value


def test_what_is_not_known_is_named_where_it_was_wanted() -> None:
    def shown(**values: Any) -> dict[str, QuantityWords]:
        unknown: dict[str, Any] = dict.fromkeys(one.field for one in QUANTITIES)
        case = replace(CASE, **{**unknown, "tuned_now": False, **values})
        return {one.what: one for one in quantities_of(case)}

    assert {what: one.now for what, one in shown().items()} == dict.fromkeys(
        ("library", "workspace memory", "number of kernels", "time to compile"), "not known"
    )
    assert shown(peak_memory_asked=True)["peak memory"].now == "not known"
    assert shown(peak_memory_bytes=0)["peak memory"].now == "0 B"
    assert shown(tuned_now=True)["time of a tuning trial"].now == "not known"
    unlimited = shown(peak_memory_asked=True, baseline_peak_memory_bytes=None)["peak memory"]
    assert unlimited.before == ""
    new = shown(baseline_library_bytes=None, baseline_kernel_calls=None)["number of kernels"]
    assert new.before == ""
    assert shown(baseline_kernel_calls=None)["number of kernels"].before == "not known"
    assert quantities_of(replace(CASE, artifact="")) == []
