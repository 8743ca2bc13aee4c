"""Stage of `tvmtune vet`: one library under one runtime, next to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_tvmtune.core.comparing.outputs_comparison import compare
from pytest_tvmtune.core.comparing.tolerances import Tolerance
from pytest_tvmtune.core.errors import TvmTuneError
from pytest_tvmtune.core.results.comparison_result import ErrorResult
from pytest_tvmtune.core.tensors.nested_outputs import ROOT
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.core.vetting.vet_report import ComparedSides, SidesComparison
from pytest_tvmtune.processes.job import OtherInterpreter
from pytest_tvmtune.processes.messages import read_message, write_message
from pytest_tvmtune.processes.resident_process import ResidentContext
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.turns.library_side import LibrarySide, SideCall, SideOutputs
from pytest_tvmtune.relax.vetting.environment_run import EnvironmentCase
from pytest_tvmtune.stages.latency.measured_latency import latency_of
from pytest_tvmtune.stages.latency.turns import SideProcess, measure_in_turns
from pytest_tvmtune.stages.vetting.environment_tests import TestedEnvironment
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.layout import slug
from pytest_tvmtune.store.locks import exclusive_cores


@dataclass(frozen=True, kw_only=True, eq=False)
class VettedSide:
    """A library to run in an environment. case: of that environment. call: of the library."""

    name: str
    tested: TestedEnvironment
    case: EnvironmentCase
    artifact: Artifact
    call: EntryCall

    @property
    def interpreter(self) -> OtherInterpreter:
        """The interpreter that runs it, as the tests ran in it."""
        return OtherInterpreter(
            python=self.tested.environment.python, path=self.case.path, setup=self.case.setup
        )


def compare_sides(
    sides: ComparedSides, one: VettedSide, other: VettedSide, *, alpha: float, folder: Path
) -> SidesComparison:
    """Compare two sides: their numbers, then their time.

    Args:
        sides: What is compared.
        one: The baseline.
        other: What is compared with it; its case has the options.
        alpha: Of this one decision.
        folder: For files.
    """
    same_code = one.artifact.sha256 == other.artifact.sha256
    made = SidesComparison(sides=sides, same_code=same_code)
    case = other.case
    processes = tuple(
        side_process(side, folder / f"{slug(sides)}-{number}", case)
        for number, side in enumerate((one, other))
    )
    pair = processes[0], processes[1]
    try:
        with exclusive_cores():
            measured = measure_in_turns(
                pair,
                max_time_s=case.max_time_s,
                alpha=alpha,
                threshold=case.threshold,
                cold_cache=case.cold_cache,
                memory_folder=folder,
            )
        made = replace(made, latency=latency_of(measured, case.threshold, alpha=alpha))
    except TvmTuneError as error:
        made = replace(made, problem=str(error))
    written = [side.outputs for side in pair if side.outputs and side.outputs.is_file()]
    if len(written) == len(pair):
        old, new = (read_message(one, SideOutputs).arrays for one in written)
        made = replace(made, numbers=_numbers(old, new, one.name, case))
    return made


def side_process(side: VettedSide, files: Path, case: EnvironmentCase) -> SideProcess:
    """Return the process of a side; its files are written to a folder.

    Args:
        side: The side.
        files: The folder, made if it doesn't exist.
        case: Whose options the process has.
    """
    files.mkdir(parents=True, exist_ok=True)
    call_file = files / "call"
    # A target is written as the TVM that reads it writes it.
    assert side.case.built is not None
    entry_call = replace(side.call, target=side.case.built.call.target)
    write_message(
        call_file, SideCall(artifact=side.artifact, call=entry_call, cold_cache=case.cold_cache)
    )
    store = side.tested.store
    context = ResidentContext(
        side=side.name,
        interpreter=side.interpreter,
        scratch=store.scratch,
        log_path=store.logs / f"{slug(case.label)}-vet.log",
        num_threads=case.num_threads,
        timeout_s=case.timeout_s,
    )
    return SideProcess(
        kind=LibrarySide,
        context=context,
        call=call_file,
        library=side.artifact.library,
        outputs=files / "outputs",
    )


def _numbers(
    old: Sequence[tuple[str, Array]],
    new: Sequence[tuple[str, Array]],
    against: str,
    case: EnvironmentCase,
) -> ErrorResult:
    """Compare what both sides returned for the same inputs, with the tolerances of the test."""
    return compare(
        _nested(new),
        _nested(old),
        against=against,
        tolerance=Tolerance(rtol=case.rtol, atol=case.atol),
        names=case.output_names,
        dtypes="names",
    )


def _nested(outputs: Sequence[tuple[str, Array]]) -> Array | tuple[Array, ...]:
    """Return outputs by path as one array, or as a tuple in their order."""
    if [path for path, _ in outputs] == [ROOT]:
        return outputs[0][1]
    return tuple(array for _, array in outputs)
