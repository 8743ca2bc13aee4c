"""Stage of `tvmtune vet`: one case of both environments, from its libraries to its findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import numpy as np

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, table_of
from pytest_tvmtune.core.vetting.slower_part import differing_part_of, slower_part_of
from pytest_tvmtune.core.vetting.vet_report import (
    ComparedSides,
    Schedules,
    SidesComparison,
    VettedCase,
)
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.diagnosing import divergence_job
from pytest_tvmtune.relax.diagnosing.reproducer import SCRIPT
from pytest_tvmtune.relax.measuring import kernel_times_job
from pytest_tvmtune.relax.measuring.epochs import ArtifactPair
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.vetting.environment_run import BuiltCase, EnvironmentCase
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.vetting.environment_tests import TestedEnvironment
from pytest_tvmtune.stages.vetting.side_comparison import VettedSide, compare_sides
from pytest_tvmtune.store.layout import slug
from pytest_tvmtune.store.locks import exclusive_cores

OLD_SIDE = "the old library under the old runtime"
MIXED_SIDE = "the old library under the new runtime"
NEW_SIDE = "the new library under the new runtime"
_KERNELS_S = 2.0
_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedCase:
    """A case of both environments. schedules: of both libraries."""

    old: EnvironmentCase
    new: EnvironmentCase
    old_tested: TestedEnvironment
    new_tested: TestedEnvironment
    schedules: Schedules

    @property
    def label(self) -> str:
        """Its name in messages and tables."""
        return self.new.label

    @property
    def decisions(self) -> int:
        """How many decisions of the gate it takes."""
        old, new = self.old.built, self.new.built
        if old is None or new is None:
            return 0
        return 1 if old.artifact.sha256 == new.artifact.sha256 else 3


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sides:
    old: VettedSide
    mixed: VettedSide
    new: VettedSide
    notes: tuple[str, ...]


def vet_case(
    pair: PairedCase, *, alpha: float, folder: Path, on_progress: Callable[[str], None]
) -> VettedCase:
    """Return where a case differs between two environments, and in which part.

    Args:
        pair: The case.
        alpha: Of each decision.
        folder: For files of this case.
        on_progress: Is called with the name of each comparison.
    """
    vetted = VettedCase(
        label=pair.label, nodeid=pair.new.nodeid, name=pair.new.name, schedules=pair.schedules
    )
    sides = _sides(pair)
    if isinstance(sides, str):
        return replace(vetted, findings=(f"{pair.label}: {sides}",))
    comparisons: list[SidesComparison] = []

    def make(what: ComparedSides, one: VettedSide, other: VettedSide) -> None:
        on_progress(f"{pair.label}, {pair.schedules}: {what}")
        made = compare_sides(what, one, other, alpha=alpha, folder=folder)
        comparisons.append(made)

    make("old and new", sides.old, sides.new)
    whole = comparisons[0]
    if whole.same_code:
        # The only difference is the runtime.
        comparisons.append(replace(whole, sides="runtime"))
    else:
        make("runtime", sides.old, sides.mixed)
        if not comparisons[-1].problem:
            make("generated code", sides.mixed, sides.new)
    vetted = replace(
        vetted,
        comparisons=tuple(comparisons),
        slower_part=slower_part_of(comparisons),
        notes=sides.notes,
    )
    return _explained(vetted, pair, sides, folder)


def _sides(pair: PairedCase) -> _Sides | str:
    """Return the sides to compare; why there are none, in words, where a library is missing."""
    old, new = pair.old.built, pair.new.built
    if old is None or new is None:
        if old is None and new is None:
            return f"can't be compiled or run in both environments: {_first_finding(pair.new)}"
        which, case = ("old", pair.old) if old is None else ("new", pair.new)
        return f"can't be compiled or run in the {which} environment: {_first_finding(case)}"
    if pair.old.signature["inputs"] != pair.new.signature["inputs"]:
        return (
            "the model has other inputs in each environment: "
            f"{pair.old.signature['inputs']} and {pair.new.signature['inputs']}"
        )
    old_call, new_call, notes = _calls(pair, old, new)

    def side(name: str, which: str, built: BuiltCase, entry_call: EntryCall) -> VettedSide:
        is_old = which == "old"
        return VettedSide(
            name=name,
            tested=pair.old_tested if is_old else pair.new_tested,
            case=pair.old if is_old else pair.new,
            artifact=built.artifact,
            call=entry_call,
        )

    return _Sides(
        old=side(OLD_SIDE, "old", old, old_call),
        mixed=side(MIXED_SIDE, "new", old, old_call),
        new=side(NEW_SIDE, "new", new, new_call),
        notes=notes,
    )


def _calls(
    pair: PairedCase, old: BuiltCase, new: BuiltCase
) -> tuple[EntryCall, EntryCall, tuple[str, ...]]:
    """Return both calls with the same inputs, and the same parameters if the model has the same."""
    notes = []
    new_call = replace(new.call, inputs=old.call.inputs)
    made_anew = not _equal(old.call.inputs, new.call.inputs)
    if pair.old.signature["params"] == pair.new.signature["params"]:
        made_anew = made_anew or not _equal(old.call.params, new.call.params)
        new_call = replace(new_call, params=old.call.params)
    else:
        notes.append(
            f"{pair.label}: the model has other parameters in each environment, so each library is "
            "called with its own parameters"
        )
    if made_anew:
        notes.append(
            f"{pair.label}: the test makes other inputs or parameters in each run, so both "
            "libraries are called with those of the old environment"
        )
    return old.call, new_call, tuple(notes)


def _equal(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )


def _first_finding(case: EnvironmentCase) -> str:
    text = case.findings[0].removeprefix(f"{case.label}: ") if case.findings else "no finding"
    return text.splitlines()[0]


def _explained(vetted: VettedCase, pair: PairedCase, sides: _Sides, folder: Path) -> VettedCase:
    """Return the case with its findings, its diverging kernel, and the kernels that cost more."""
    findings, notes = [], list(vetted.notes)
    label = vetted.label
    for made in vetted.comparisons:
        if made.problem and made.sides == "old and new":
            findings.append(f"{label}: {made.problem}")
        elif made.problem:
            notes.append(
                f"{label}: the old library can't be compared under the new runtime, so the runtime "
                f"and the generated code aren't separated: {made.problem}"
            )
    if part := differing_part_of(vetted.comparisons):
        whole = next(one for one in vetted.comparisons if one.differs)
        assert whole.numbers is not None
        found, words = None, _RUNTIME_ALONE
        if part != "runtime":
            found, words = _divergence(pair, sides, folder)
        vetted = replace(vetted, divergence=found)
        findings.append(
            f"{label}: other numbers than {whole.numbers.against}: {whole.numbers.message}\n"
            f"  changed by: {_PARTS[part]}\n  {words}"
        )
    if vetted.slower_part:
        kernels, words = None, ""
        if vetted.slower_part in {"generated code", "both"}:
            kernels, words = _kernels(pair, sides, folder)
        vetted = replace(vetted, kernels=kernels)
        findings.append(_slower_words(vetted) + (f"\n  {words}" if words else ""))
    return replace(vetted, findings=tuple(findings), notes=tuple(notes))


_PARTS = {
    "runtime": "the runtime",
    "generated code": "the generated code",
    "both": "the runtime and the generated code",
    "not separated": "not separated",
}
_RUNTIME_ALONE = (
    "the library is the same, so no kernel is named: the runtime, or a function that the library "
    "calls, returns other values"
)


def _slower_words(vetted: VettedCase) -> str:
    whole = vetted.comparison("old and new")
    words = whole.latency.message if whole and whole.latency else "not measured"
    lines = [f"{vetted.label}: {words}", f"  slower: {_PARTS[vetted.slower_part]}"]
    for one in vetted.comparisons:
        if one.sides != "old and new" and one.latency and one.latency.slowdown_ratio:
            verdict = one.latency.verdict
            lines.append(
                f"  {one.sides}: {ratio_words(one.latency.slowdown_ratio)} ({verdict})"
            )
    return "\n".join(lines)


def _divergence(
    pair: PairedCase, sides: _Sides, folder: Path
) -> tuple[Divergence | None, str]:
    """Return the first kernel in which the two libraries differ under the new runtime."""
    request = divergence_job.Request(
        now=sides.new.artifact,
        reference=sides.mixed.artifact,
        call=sides.new.call,
        tolerance=Tolerance(rtol=pair.new.rtol, atol=pair.new.atol),
        against=MIXED_SIDE,
        reproducer=pair.new_tested.store.reproducers / f"{slug(pair.label)}-vet",
        records={},
    )
    if (reason := _not_in_one_process(sides)) is not None:
        return None, f"the first diverging kernel could not be found: {reason}"
    try:
        found = run_job(divergence_job.JOB, request, _job_context(pair, sides, "divergence"))
    except TvmTuneError as error:
        return None, f"the first diverging kernel could not be found: {cause_of(error)}"
    words = found.sentence()
    if found.reproducer:
        words += f"\n  reproducer: python {quote(f'{found.reproducer}/{SCRIPT}')}"
    return found, words


def _kernels(pair: PairedCase, sides: _Sides, folder: Path) -> tuple[KernelTable | None, str]:
    """Return the times of the kernels of both libraries under the new runtime."""
    if (reason := _not_in_one_process(sides)) is not None:
        return None, f"the kernels could not be measured: {reason}"
    request = kernel_times_job.Request(
        pair=ArtifactPair(
            baseline=sides.mixed.artifact,
            now=sides.new.artifact,
            call=sides.new.call,
            cold_cache=pair.new.cold_cache,
            seed=_SEED,
        ),
        alone=False,
        budget_s=_KERNELS_S,
    )
    try:
        with exclusive_cores():
            times = run_job(
                kernel_times_job.JOB, request, _job_context(pair, sides, "kernels")
            )
    except TvmTuneError as error:
        return None, f"the kernels could not be measured: {cause_of(error)}"
    table = table_of(
        times.now,
        sides.new.artifact.manifest.kernels,
        times.overhead_s,
        times.baseline,
        sides.mixed.artifact.manifest.kernels,
    )
    return table, slower_kernels_line(table)


def _not_in_one_process(sides: _Sides) -> str | None:
    """Return why both libraries can't be called in one process, None where they can."""
    if sides.new.call.params is not sides.mixed.call.params:
        return "the two libraries have other parameters"
    return None


def _job_context(pair: PairedCase, sides: _Sides, stage: str) -> JobContext:
    store = pair.new_tested.store
    return JobContext(
        scratch=store.scratch,
        log_path=store.logs / f"{slug(pair.label)}-vet-{stage}.log",
        timeout_s=pair.new.timeout_s,
        num_threads=pair.new.num_threads,
        where=sides.new.interpreter,
    )
