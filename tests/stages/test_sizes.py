"""What an artifact and its memory weigh, beside the baseline's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.stages.size_growth import find_growth
from pytest_tvmtune.stages.tuned_build import tune_and_build
from pytest_tvmtune.store.layout import open_store
from tests.support.cases import accept, opener
from tests.support.chains import chain, chain_data

X, W = chain_data()
LIMITS = {"max_size_growth": "10%", "max_memory_growth": "0%"}


def test_growth_is_found_where_a_limit_was_asked_for(tmp_path: Path) -> None:
    open_ = opener(open_store(tmp_path / "store"))

    def built(settings: dict[str, str], kernels: int) -> Any:
        case = open_(chain(kernels), settings=settings, params=[W], inputs=[X])
        return case, tune_and_build(case)

    case, artifact = built({}, 2)
    result = case.result
    assert result.library_bytes > 0
    assert result.workspace_bytes
    baseline = accept(case, artifact)

    case, _ = built(LIMITS, 2)
    assert find_growth(case, baseline) == []
    assert case.result.baseline_library_bytes == case.result.library_bytes == result.library_bytes
    assert case.result.baseline_workspace_bytes == result.workspace_bytes

    longer, _ = built(LIMITS, 60)
    (finding,) = find_growth(longer, baseline)
    assert longer.result.library_bytes > 1.1 * result.library_bytes
    assert finding.startswith("it[llvm]: its library grew from ")
    assert finding.endswith(", max_size_growth is 10%; accept with --tvm-update")
    unlimited, _ = built({}, 60)
    assert find_growth(unlimited, baseline) == []

    longer.result.workspace_bytes = (result.workspace_bytes or 0) + 1
    assert "its workspace memory grew from " in find_growth(longer, baseline)[1]
    longer.result.workspace_bytes = None
    find_growth(longer, baseline)
    assert longer.result.warnings == [
        "it[llvm]: max_memory_growth: its workspace memory is not known"
    ]
    assert find_growth(longer, replace(baseline, artifact="0" * 64)) == []
