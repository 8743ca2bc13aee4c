"""What an artifact takes besides the time of a call, next to the baseline's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.stages.growth import build_quantities, compare_quantities
from pytest_tvmtune.stages.outcomes import GrowthOutcome
from pytest_tvmtune.store.layout import open_store
from tests.support.cases import accept, built_run, opener
from tests.support.chains import chain, chain_data

X, W = chain_data()
LIMITS = {"max_size_growth": "10%", "max_memory_growth": "0%", "max_kernel_growth": "0%"}
TIMES = {"max_compile_time_growth": "50%", "max_tuning_time_growth": "50%"}


def test_growth_is_found_where_a_limit_was_asked_for(tmp_path: Path) -> None:
    open_ = opener(open_store(tmp_path / "store"))

    def built(settings: dict[str, str], kernels: int) -> Any:
        case = open_(chain(kernels), settings=settings, params=[W], inputs=[X])
        run = built_run(case)
        taken = build_quantities(case, run.built)
        assert run.result.library_bytes == taken.library_bytes > 0
        assert run.result.workspace_bytes == taken.workspace_bytes
        assert run.result.kernel_calls == taken.kernel_calls == kernels
        assert run.result.library_compile_s == taken.library_compile_s
        return run, taken

    usual, small = built({}, 2)
    assert small.workspace_bytes
    baseline = accept(usual.case, usual.built)
    assert baseline.compile_s == small.library_compile_s == usual.result.compile_s > 0
    assert baseline.trial_s is None

    same, taken = built(LIMITS, 2)
    assert same.result.compile_s == 0
    assert taken == small
    assert compare_quantities(same.case, taken, baseline) == GrowthOutcome(accepted=small)

    longer, large = built(LIMITS, 60)
    library, kernels = compare_quantities(longer.case, large, baseline).findings
    assert large.library_bytes > 1.1 * small.library_bytes
    assert library.startswith("it[llvm]: its library grew from ")
    assert library.endswith(", and max_size_growth is 10 %; accept with --tvm-update")
    assert kernels == (
        "it[llvm]: its number of kernels grew from 2 to 60 (+2900.0 %), and max_kernel_growth is "
        "0 %; accept with --tvm-update"
    )
    unlimited, _ = built({}, 60)
    assert compare_quantities(unlimited.case, large, baseline).findings == ()

    more = replace(small, workspace_bytes=small.workspace_bytes + 1)
    (found,) = compare_quantities(same.case, more, baseline).findings
    assert "its workspace memory grew from " in found
    unknown = replace(small, workspace_bytes=None)
    assert compare_quantities(same.case, unknown, baseline).warnings == (
        "it[llvm]: max_memory_growth can't be checked: the workspace memory is not known",
    )
    gone = replace(baseline, artifact="0" * 64)
    assert compare_quantities(longer.case, large, gone) == GrowthOutcome()


def test_durations_are_compared_where_they_are_comparable(tmp_path: Path) -> None:
    open_ = opener(open_store(tmp_path / "store"))
    case = open_(chain(2), settings=TIMES, params=[W], inputs=[X])
    run = built_run(case)
    baseline = replace(accept(case, run.built), compile_s=1.0, trial_s=0.1)
    now = build_quantities(case, run.built)

    def findings(compile_s: float, trial_s: float | None) -> tuple[str, ...]:
        taken = replace(now, library_compile_s=compile_s, trial_s=trial_s)
        found = compare_quantities(case, taken, baseline)
        assert found.warnings == ()
        return found.findings

    assert findings(1.5, 0.15) == findings(1.5, None) == ()
    (compiling,) = findings(1.6, 0.15)
    assert compiling == (
        "it[llvm]: its time to compile grew from 1 s to 1.6 s (+60.0 %), and "
        "max_compile_time_growth is 50 %; accept with --tvm-update"
    )
    (tuning,) = findings(1.5, 0.2)
    assert "its time of a tuning trial grew from 100 ms to 200 ms (+100.0 %)" in tuning

    # The machine of the durations counts, and not that of the calls.
    elsewhere = replace(baseline, fingerprint={**baseline.fingerprint, "cpu": "another CPU"})
    taken = replace(now, library_compile_s=9.0, trial_s=9.0)
    found = compare_quantities(case, taken, elsewhere)
    assert (len(found.findings), found.warnings) == (2, ())
    for one, why in (
        (replace(baseline, compiled_on="B", tuned_on="B"), ", and the baseline's is of B"),
        (replace(baseline, compiled_on="", tuned_on=""), "'s is of an unknown CPU"),
        (replace(baseline, compile_s=None, trial_s=None), "is not known"),
    ):
        found = compare_quantities(case, taken, one)
        assert found.findings == ()
        assert [("can't be checked" in text, why in text) for text in found.warnings] == [
            (True, True)
        ] * 2


def test_a_duration_belongs_to_the_machine_that_took_it(tmp_path: Path) -> None:
    open_ = opener(open_store(tmp_path / "store"))
    case = open_(chain(2), settings=TIMES, params=[W], inputs=[X])
    built = built_run(case).built
    here = fingerprint().cpu
    baseline = accept(case, built)
    assert (built.build.compiled_on, baseline.compiled_on, baseline.tuned_on) == (here,) * 3
    # Of a store that another machine compiled for.
    shared = replace(built, build=replace(built.build, compile_s=9.0, compiled_on="B"))
    found = compare_quantities(case, build_quantities(case, shared), baseline)
    assert found.findings == ()
    assert found.warnings == (
        (
            "it[llvm]: max_compile_time_growth can't be checked: the time to compile is of B, and "
            f"the baseline's is of {here}"
        ),
    )
    # A device runs what is compiled here, and measures what is tuned from here.
    device: Any = replace(case, machine=replace(case.machine, cpu="a device"), remote=object())
    now = build_quantities(device, built, trial_s=0.1)
    assert (now.compiled_on, now.tuned_on) == (here, f"a device, tuned from {here}")
    found = compare_quantities(device, now, replace(baseline, trial_s=0.1))
    (warning,) = found.warnings
    assert "max_tuning_time_growth can't be checked: the time of a tuning trial is of " in warning
    assert f" of {now.tuned_on}, and the baseline's is of {here}" in warning
