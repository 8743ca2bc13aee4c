"""How large an artifact and its memory are, next to the baseline's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.stages.outcomes import SizesOutcome
from pytest_tvmtune.stages.size_growth import artifact_sizes, compare_sizes
from pytest_tvmtune.store.layout import open_store
from tests.support.cases import accept, built_run, opener
from tests.support.chains import chain, chain_data

X, W = chain_data()
LIMITS = {"max_size_growth": "10%", "max_memory_growth": "0%"}


def test_growth_is_found_where_a_limit_was_asked_for(tmp_path: Path) -> None:
    open_ = opener(open_store(tmp_path / "store"))

    def built(settings: dict[str, str], kernels: int) -> Any:
        case = open_(chain(kernels), settings=settings, params=[W], inputs=[X])
        run = built_run(case)
        sizes = artifact_sizes(case, run.built.artifact)
        assert run.result.library_bytes == sizes.library_bytes > 0
        assert run.result.workspace_bytes == sizes.workspace_bytes
        return run, sizes

    usual, small = built({}, 2)
    assert small.workspace_bytes
    baseline = accept(usual.case, usual.built)

    same, sizes = built(LIMITS, 2)
    assert compare_sizes(same.case, sizes, baseline) == SizesOutcome(accepted=small)

    longer, large = built(LIMITS, 60)
    (finding,) = compare_sizes(longer.case, large, baseline).findings
    assert large.library_bytes > 1.1 * small.library_bytes
    assert finding.startswith("it[llvm]: its library grew from ")
    assert finding.endswith(", and max_size_growth is 10 %; accept with --tvm-update")
    unlimited, _ = built({}, 60)
    assert compare_sizes(unlimited.case, large, baseline).findings == ()

    more = replace(large, workspace_bytes=small.workspace_bytes + 1)
    found = compare_sizes(longer.case, more, baseline)
    assert "its workspace memory grew from " in found.findings[1]
    unknown = replace(large, workspace_bytes=None)
    assert compare_sizes(longer.case, unknown, baseline).warnings == (
        (
            "it[llvm]: max_memory_growth can't be checked: the size of its workspace memory is not "
            "known"
        ),
    )
    gone = replace(baseline, artifact="0" * 64)
    assert compare_sizes(longer.case, large, gone) == SizesOutcome()
