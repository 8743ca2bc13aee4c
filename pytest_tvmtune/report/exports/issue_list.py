"""The issues of a nightly run: what a recipe opens, updates, and closes in an issue tracker."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.results.case_label import case_id
from pytest_tvmtune.core.results.case_result import CaseResult
from pytest_tvmtune.report.case_markdown import CASE_HEAD, case_blocks, case_row
from pytest_tvmtune.report.case_verdicts import (
    FAILED,
    has_failed,
    kind_of,
    verdict_of,
    worst_first,
    worst_of_each,
)
from pytest_tvmtune.report.json_report import cases_of
from pytest_tvmtune.report.markdown_report import MOST_COMMENT_BYTES, machine_line
from pytest_tvmtune.report.markdown_text import code, fitting

# GitLab takes titles of at most 255 characters, and GitHub one more.
_MOST_TITLE = 255
_MOST_LABEL = 160


def issue_list(report: Mapping[str, Any]) -> str:
    """Return JSON: an object for each case that a report (docs/reference/json.md) decides.

    Each has `key`, which is the same in each run; `state`, which is `open` if the case failed, and
    `closed` if it passed; `title`; and `body`, which is Markdown that begins with a hidden marker
    with the key. A case without a decision isn't listed, so its issue stays as it is: it's new,
    skipped, not timed, inconclusive, or incomparable, or its test failed for another reason.

    Raises:
        ReportError: The object isn't a report, or a later version wrote it.
    """
    listed = []
    # A test that is repeated has one issue, with its worst result.
    for result in worst_of_each(worst_first(cases_of(report)), _key):
        key = _key(result)
        state = _state(result)
        if state is not None:
            blocks = [f"<!-- pytest-tvmtune: {key} -->", *_text(result, state, report)]
            body = "\n\n".join(fitting(blocks, MOST_COMMENT_BYTES))
            listed.append({"key": key, "state": state, "title": _title(result), "body": body})
    return json.dumps(listed, indent=1) + "\n"


def _key(result: CaseResult) -> str:
    """Return a readable slug and 12 hex digits of the SHA-256 of the case's id."""
    identity = case_id(result.nodeid, result.name)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", result.label)[:60].strip("-")
    return f"{slug}-{sha256(identity.encode()).hexdigest()[:12]}"


def _state(result: CaseResult) -> Literal["open", "closed"] | None:
    if has_failed(result):
        return "open" if result.findings else None
    if result.outcome not in {"passed", "xpassed"}:
        return None
    accepted = result.latency is not None and result.latency.accepted
    # A test that passes without being timed doesn't know whether the case is still slow.
    decided = kind_of(result) in {"good", "pass"}
    return "closed" if decided or (accepted and kind_of(result) == "warn") else None


def _title(result: CaseResult) -> str:
    label = " ".join(result.label.split())[:_MOST_LABEL]
    return f"{label}: {_problem(result)}"[:_MOST_TITLE]


def _problem(result: CaseResult) -> str:
    latency, drift, verdict = result.latency, result.drift, verdict_of(result)
    if verdict == "REGRESSION" and latency is not None and latency.slowdown_ratio is not None:
        return f"{verdict}, {ratio_words(latency.slowdown_ratio)}"
    if verdict == FAILED and result.failure is not None:
        if drift is not None and drift.verdict == "REGRESSION":
            return f"drift, {ratio_words(drift.ratio)} than the anchor"
        return result.failure.kind
    return verdict


def _text(result: CaseResult, state: str, report: Mapping[str, Any]) -> Sequence[str]:
    test = f"Test {code(result.nodeid)}, run of {report['created_at']}."
    table = "\n".join((*CASE_HEAD, case_row(result)))
    if state == "closed":
        return ["This case passed again.", table, test, machine_line(report["machine"])]
    return [table, test, machine_line(report["machine"]), *case_blocks(result)]
