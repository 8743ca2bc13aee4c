"""OpenMetrics text, for Prometheus and dashboards that read its format.

https://prometheus.io/docs/specs/om/open_metrics_spec/. All metrics are gauges without timestamps,
so the text is also valid in the older format of Prometheus, which node_exporter's textfile
collector and the Pushgateway read. Both refuse timestamps.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from time import strptime
from typing import Any

from pytest_tvmtune.core.results.case_label import without_group
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.case_verdicts import has_failed, verdict_of, worst_of_each
from pytest_tvmtune.report.exports.case_metrics import METRICS, Metric
from pytest_tvmtune.report.json_report import cases_of

Labels = Mapping[str, str]
_CREATED = "%Y-%m-%dT%H:%M:%SZ"
_MACHINE_LABELS = ("cpu", "usable_cores", "system", "python", "tvm", "tvm_revision")


def openmetrics(report: Mapping[str, Any]) -> str:
    """Return a JSON report (docs/reference/json.md) as OpenMetrics text.

    The labels identify a case from run to run. Values that aren't known are left out.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    # A series has one value.
    cases = worst_of_each(cases_of(report), lambda result: tuple(_labels(result).values()))
    machine = {
        name: str(report["machine"][name]) for name in _MACHINE_LABELS if name in report["machine"]
    }
    created_s = float(timegm(strptime(report["created_at"], _CREATED)))
    lines = [
        *_family(
            "tvmtune_run_timestamp_seconds", "seconds", "Time of the report.", [({}, created_s)]
        ),
        *_family("tvmtune_run_info", "", "Machine and versions of the run.", [(machine, 1.0)]),
        *_family(
            "tvmtune_failed",
            "",
            "Whether the test of the case failed, 0 or 1.",
            [(_labels(result), float(has_failed(result))) for result in cases],
        ),
        *_family(
            "tvmtune_verdict",
            "",
            "1 for the verdict of the case.",
            [({**_labels(result), "verdict": verdict_of(result)}, 1.0) for result in cases],
        ),
    ]
    for metric in METRICS:
        lines += _metric(metric, cases)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _metric(metric: Metric, cases: Sequence[CaseResult]) -> Iterator[str]:
    known = [
        (_labels(result), value) for result in cases if (value := metric.value(result)) is not None
    ]
    unit = f"_{metric.unit}" if metric.unit else ""
    rows = [(labels, one.value) for labels, one in known]
    yield from _family(f"tvmtune_{metric.name}{unit}", metric.unit, metric.help, rows)
    for index, end in enumerate(("lower", "upper")):
        rows = [(labels, one.bounds[index]) for labels, one in known if one.bounds is not None]
        text = f"{metric.help[:-1]}: {end} {metric.bounds}."
        yield from _family(f"tvmtune_{metric.name}_{end}{unit}", metric.unit, text, rows)


def _family(name: str, unit: str, text: str, rows: Sequence[tuple[Labels, float]]) -> Iterator[str]:
    """Yield the lines of a metric; none without rows."""
    if not rows:
        return
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"
    for labels, value in rows:
        pairs = ",".join(f'{label}="{_escaped(one)}"' for label, one in labels.items())
        yield f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


def _labels(result: CaseResult) -> Labels:
    labels = {
        "test": without_group(result.nodeid),
        "case": result.name,
        "target": result.target_name,
        "prepack": "yes" if result.prepack else "no",
    }
    return {**labels, "device": result.device} if result.device else labels


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
