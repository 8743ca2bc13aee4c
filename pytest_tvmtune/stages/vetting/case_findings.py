"""The findings of a vetted case: the part that changed, and the kernels in which it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote

from pytest_tvmtune.core.comparing.divergence import Divergence
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.gating.ratio_text import ratio_words
from pytest_tvmtune.core.kernels.kernel_table import KernelTable, table_of
from pytest_tvmtune.core.vetting.slower_part import differing_part_of
from pytest_tvmtune.core.vetting.vet_report import SlowerPart, VettedCase
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.diagnosing import divergence_job
from pytest_tvmtune.relax.diagnosing.reproducer import SCRIPT
from pytest_tvmtune.relax.measuring import kernel_times_job
from pytest_tvmtune.relax.measuring.epochs import ComparedArtifacts
from pytest_tvmtune.report.kernel_lines import slower_kernels_line
from pytest_tvmtune.stages.vetting.paired_case import MIXED_SIDE, PairedCase, VettedSides
from pytest_tvmtune.stages.vetting.runtime_divergence import runtime_divergence
from pytest_tvmtune.store.layout import slug
from pytest_tvmtune.store.locks import exclusive_cores

_KERNELS_S = 2.0
_SEED = 0


def explained(vetted: VettedCase, pair: PairedCase, sides: VettedSides, folder: Path) -> VettedCase:
    """Return the case with its findings, its diverging kernel, and the kernels that cost more.

    folder: for files.
    """
    findings, notes = [], list(vetted.notes)
    label = vetted.label
    for made in vetted.comparisons:
        if made.problem and made.sides != "runtime":
            findings.append(f"{label}: {made.problem}")
        elif made.problem and not made.same_code:
            notes.append(
                f"{label}: the old library can't be compared under the new runtime, so the runtime "
                f"and the generated code aren't separated: {made.problem}"
            )
    if part := differing_part_of(vetted.comparisons):
        whole = next(one for one in vetted.comparisons if one.differs)
        assert whole.numbers is not None
        if part == "runtime":
            words = runtime_divergence(pair, sides, folder)
        else:
            found, words = _divergence(pair, sides)
            vetted = replace(vetted, divergence=found)
        findings.append(
            f"{label}: other numbers than {whole.numbers.against}: {whole.numbers.message}\n"
            f"  changed by: {_PARTS[part]}\n  {words}"
        )
    if vetted.slower_part:
        kernels, words = None, ""
        if vetted.slower_part in {"generated code", "both"}:
            kernels, words = _kernels(pair, sides)
        vetted = replace(vetted, kernels=kernels)
        findings.append(_slower_words(vetted) + (f"\n  {words}" if words else ""))
    return replace(vetted, findings=tuple(findings), notes=tuple(notes))


_PARTS: dict[SlowerPart, str] = {
    "runtime": "the runtime",
    "generated code": "the generated code",
    "both": "the runtime and the generated code",
    "not separated": "not separated",
}


def _slower_words(vetted: VettedCase) -> str:
    whole = vetted.comparison("old and new")
    words = whole.latency.message if whole and whole.latency else "not measured"
    lines = [f"{vetted.label}: {words}", f"  slower: {_PARTS[vetted.slower_part]}"]
    for one in vetted.comparisons:
        if one.sides != "old and new" and one.latency and one.latency.slowdown_ratio:
            verdict = one.latency.verdict
            lines.append(f"  {one.sides}: {ratio_words(one.latency.slowdown_ratio)} ({verdict})")
    return "\n".join(lines)


def _divergence(pair: PairedCase, sides: VettedSides) -> tuple[Divergence | None, str]:
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


def _kernels(pair: PairedCase, sides: VettedSides) -> tuple[KernelTable | None, str]:
    """Return the times of the kernels of both libraries under the new runtime."""
    if (reason := _not_in_one_process(sides)) is not None:
        return None, f"the kernels could not be measured: {reason}"
    request = kernel_times_job.Request(
        compared=ComparedArtifacts(
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
            times = run_job(kernel_times_job.JOB, request, _job_context(pair, sides, "kernels"))
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


def _not_in_one_process(sides: VettedSides) -> str | None:
    """Return why both libraries can't be called in one process, None where they can."""
    if sides.new.call.params is not sides.mixed.call.params:
        return "the two libraries have other parameters"
    return None


def _job_context(pair: PairedCase, sides: VettedSides, stage: str) -> JobContext:
    store = pair.new_tested.store
    return JobContext(
        scratch=store.scratch,
        log_path=store.logs / f"{slug(pair.label)}-vet-{stage}.log",
        timeout_s=pair.new.timeout_s,
        num_threads=pair.new.num_threads,
        where=sides.new.interpreter,
    )
