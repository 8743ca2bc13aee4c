"""A pytest plugin that tests models compiled by Apache TVM for wrong numbers and slowdowns.

Tests, conftest files, other plugins, and deployment scripts can use these names. All other modules
are private (docs/reference/stability.md). A name is imported at its first use, so starting pytest
needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "CaseResult",
    "KernelTable",
    "ModelError",
    "ReportError",
    "Run",
    "Tolerance",
    "TvmTune",
    "TvmTuneError",
    "TvmTuneWarning",
    "Verdict",
    "html_report",
    "make_report",
    "report_schema",
    "static_shape_tuning_pipeline",
    "vet_report_schema",
]

if TYPE_CHECKING:
    from pytest_tvmtune.core.comparing.tolerances import Tolerance
    from pytest_tvmtune.core.errors import ModelError, ReportError, TvmTuneError
    from pytest_tvmtune.core.gating.verdict import Verdict
    from pytest_tvmtune.core.kernels.kernel_table import KernelTable
    from pytest_tvmtune.core.results.case_result import CaseResult
    from pytest_tvmtune.plugin.run import Run
    from pytest_tvmtune.plugin.tune_fixture import TvmTune
    from pytest_tvmtune.plugin.warning import TvmTuneWarning
    from pytest_tvmtune.report.html_report import html_report
    from pytest_tvmtune.report.json_report import make_report, report_schema, vet_report_schema
    from pytest_tvmtune.stages.deployment.tuning_pipeline import static_shape_tuning_pipeline
else:  # else a type checker would take any name for one of these
    _HOMES = {
        "CaseResult": "core.results.case_result",
        "KernelTable": "core.kernels.kernel_table",
        "ModelError": "core.errors",
        "ReportError": "core.errors",
        "Run": "plugin.run",
        "Tolerance": "core.comparing.tolerances",
        "TvmTune": "plugin.tune_fixture",
        "TvmTuneError": "core.errors",
        "TvmTuneWarning": "plugin.warning",
        "Verdict": "core.gating.verdict",
        "html_report": "report.html_report",
        "make_report": "report.json_report",
        "report_schema": "report.json_report",
        "static_shape_tuning_pipeline": "stages.deployment.tuning_pipeline",
        "vet_report_schema": "report.json_report",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
