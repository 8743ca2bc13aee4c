"""Cases on a store that outlives a test, and baselines of them."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.case_identity import Identity
from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.parsing import parse_setting
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.relax.importing import open_model
from pytest_tvmtune.stages.baseline_proposal import propose_baseline
from pytest_tvmtune.stages.case import Case, RunContext, open_case
from pytest_tvmtune.stages.case_run import CaseRun, begin
from pytest_tvmtune.stages.comparing.comparing_golden import FOLDER
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.outcomes import BaselineProposal
from pytest_tvmtune.stages.pipeline import tune_and_build
from pytest_tvmtune.stages.tuned_build import counterpart_build, load_and_call, reference_build
from pytest_tvmtune.store.layout import Store
from tests.support.modules import OpenCase

IDENTITY = Identity(
    path="test_it.py", cls="", function="test_it", params="", name="it", entry="main",
    target_name="llvm", prepack=False,
)  # fmt: skip


def opener(store: Store, *, gated_items: int = 1, usual_name: str = "it") -> OpenCase:
    """Return open_(mod, prepack=..., target=..., settings=..., **source) -> Case on this store.

    settings: as users write them; trials are 0 unless given.
    """

    def opened(
        mod: Any,
        *,
        prepack: bool = False,
        target: str = "llvm",
        name: str = usual_name,
        settings: dict[str, Any] | None = None,
        pipeline: Any = None,
        **source: Any,
    ) -> Case:
        given = {"trials": 0, **(settings or {})}
        parsed = {name: parse_setting(name, value, "") for name, value in given.items()}
        run = resolve_run(parsed, store_dir=store.root)
        options = run.case_options({}, target=parse_target(target), prepack=prepack)
        model = open_model(mod, name=name, seed=options.seed, **source)
        # A new RunContext each time, as each pytest process has its own.
        run_context = RunContext(store=store, gated_items=gated_items)
        nodeid = f"test_it.py::test_{name}"
        return open_case(model, options, run_context, name=name, nodeid=nodeid, pipeline=pipeline)

    return opened


def run_of(case: Case) -> CaseRun:
    """Return the case on its way, nothing being done yet."""
    return begin(
        case,
        identity=IDENTITY,
        run_options=resolve_run(store_dir=case.store.root),
        golden_folder=case.store.root / FOLDER,
        show_warning=lambda _: None,
    )


def built_run(case: Case) -> CaseRun:
    """Return the case tuned and built."""
    run = run_of(case)
    tune_and_build(run)
    return run


def build_of(case: Case) -> BuiltModel:
    """Return what the case is when it is tuned and built."""
    return built_run(case).built


def build_with_records(case: Case) -> BuiltModel:
    """Return what the case is when its records are applied, also those that don't pay."""
    build_of(case)
    forget_untuned(case.store)
    return build_of(case)


def reference_outputs(case: Case, built: BuiltModel) -> Any:
    """Return the outputs of the untuned, unpacked build, None where there is none."""
    reference = reference_build(case, built)
    return None if reference is None else load_and_call(case, reference)[1]


def counterpart_outputs(case: Case) -> Any:
    """Return the outputs with prepack the other way round."""
    return load_and_call(case, counterpart_build(case))[1]


def forget_untuned(store: Store) -> None:
    """Drop what kernels take without a schedule, so that records are applied whatever they took.

    Those of tests are so small that a schedule seldom pays.
    """
    for path in store.tuning.rglob("*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"kind": "untuned"' not in line))


def accept(case: Case, built: BuiltModel) -> Baseline:
    """Return the baseline that this case becomes, there being none before."""
    return propose(case, built).baseline


def propose(case: Case, built: BuiltModel) -> BaselineProposal:
    """Return the baseline, and its records, that this case becomes, there being none before."""
    latency = judge_latency(case, built, load(case, built), None).latency
    assert latency.verdict == "NEW"
    return propose_baseline(case, IDENTITY, built, latency.samples_s)
