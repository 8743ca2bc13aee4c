"""Stages: what the latency of a case can be compared with, built and ready to be measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_tvmtune.core.errors import ModelError, TvmTuneError
from pytest_tvmtune.core.results.latency_comparison import PLAIN, PREPACKED, UNTUNED
from pytest_tvmtune.processes.interpreters import import_path
from pytest_tvmtune.processes.job import OtherInterpreter
from pytest_tvmtune.processes.messages import write_message
from pytest_tvmtune.processes.resident_process import ResidentContext
from pytest_tvmtune.processes.setup_modules import setup_in_use
from pytest_tvmtune.relax.importing.from_library import open_library
from pytest_tvmtune.relax.turns.library_side import LibrarySide, SideCall
from pytest_tvmtune.relax.turns.reference_side import ReferenceCall, ReferenceSide
from pytest_tvmtune.stages.case import Case, with_prepack
from pytest_tvmtune.stages.compiling import BuiltModel, build, build_untuned
from pytest_tvmtune.stages.finals_in_model import build_with_finals
from pytest_tvmtune.stages.job_context import entry_call
from pytest_tvmtune.stages.latency.turns import SideProcess
from pytest_tvmtune.stages.tuned_build import recall_outcome
from pytest_tvmtune.stages.tuning_tasks import extract_tasks, tune_missing, untuned_sentence
from pytest_tvmtune.store.artifacts import Artifact


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherCase:
    """Another case of the same test. artifact: what it was built to."""

    case: Case
    artifact: Artifact


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """What a case is measured next to.

    library: TVM's, called as the case is, with the same parameters and inputs. process: makes the
    process of any other side, whose files are in the folder that it is given. One of both is None.
    trials_spent: what tuning it took now. compiled_s: what compiling it took now, if it was.
    """

    name: str
    library: Artifact | None = None
    process: Callable[[Path], SideProcess] | None = None
    notes: tuple[str, ...] = ()
    trials_spent: int = 0
    compiled_s: float | None = None


def variant_of(case: Case, built: BuiltModel, other: str | os.PathLike[str] | OtherCase) -> Variant:
    """Return a variant that a test names.

    Args:
        case: What is compared with it.
        built: Its build.
        other: `untuned`, `prepacked`, `not prepacked`, the name of one of the model's references,
            the path of a library, or another case of the test.

    Raises:
        ModelError: There is no such variant of this model.
        TvmTuneError: It can't be tuned, compiled, or run.
    """
    if isinstance(other, OtherCase):
        return _other_case(case, other)
    if isinstance(other, os.PathLike) or (isinstance(other, str) and other.endswith(".so")):
        return _library(case, Path(other))
    if other == UNTUNED:
        _check_stock(case, other)
        twin = build(case, built.plan, {})
        return Variant(name=UNTUNED, library=twin.artifact, compiled_s=twin.compiled_s)
    if other in {PREPACKED, PLAIN}:
        return _counterpart(case, other)
    if other in case.model.references:
        return _reference(case, other)
    known = [] if case.model.is_ready else [UNTUNED, PLAIN if case.options.prepack else PREPACKED]
    named = ", ".join(repr(one) for one in (*known, *case.model.references))
    raise ModelError(
        f"{other!r} is nothing that this model can be compared with; give "
        f"{named + ', ' if named else ''}the path of a library (.so), or another Run of the test"
    )


def library_side(case: Case, artifact: Artifact, name: str, folder: Path) -> SideProcess:
    """Return the process that runs a library as a case calls it.

    name: of the side, in messages. folder: for its files, and no other side's.
    """
    call_file = folder / "library.call"
    write_message(
        call_file,
        SideCall(artifact=artifact, call=entry_call(case), cold_cache=case.options.cold_cache),
    )
    return SideProcess(
        kind=LibrarySide,
        context=_resident_context(case, name),
        call=call_file,
        library=artifact.library,
    )


def _counterpart(case: Case, other: str) -> Variant:
    """Return the other prepack choice, tuned as the case is: else the tuned side would win."""
    _check_stock(case, other)
    prepack = other == PREPACKED
    if prepack == case.options.prepack:
        choice = PLAIN if prepack else PREPACKED
        raise ModelError(f"this run is {other} itself; compare it with {choice!r}")
    case = with_prepack(case, prepack=prepack)
    plan = extract_tasks(case)
    spent, outcome = 0, recall_outcome(case, plan)
    if outcome is None:
        tuned = tune_missing(case, plan)
        if tuned.error is not None:
            raise tuned.error
        spent, (outcome, _) = tuned.trials_spent, build_with_finals(case, plan, tuned)
    untuned = untuned_sentence(case, outcome.tasks)
    return Variant(
        name=other,
        library=outcome.built.artifact,
        notes=(f"{other}: {untuned}",) if untuned else (),
        trials_spent=spent,
        compiled_s=outcome.built.compiled_s,
    )


def _library(case: Case, path: Path) -> Variant:
    model = open_library(
        path,
        name=case.model.name,
        entry=case.model.signature.entry,
        params=list(case.model.params),
        inputs=list(case.model.inputs),
    )
    try:
        made = build_untuned(replace(with_prepack(case, prepack=False), model=model))
    except TvmTuneError as error:
        error.add(f"The library is {path}. It's called with the inputs and parameters of the run.")
        raise
    return Variant(name=str(path), library=made.artifact)


def _other_case(case: Case, other: OtherCase) -> Variant:
    one, two = case.model.signature.inputs, other.case.model.signature.inputs
    if [(spec.shape, spec.dtype) for spec in one] != [(spec.shape, spec.dtype) for spec in two]:
        raise ModelError(
            f"{other.case.label} has other inputs ({', '.join(map(str, two))}) than "
            f"{case.label} ({', '.join(map(str, one))}); runs with the same inputs can be compared"
        )
    if _is_called_alike(case, other.case):
        return Variant(name=other.case.label, library=other.artifact)
    _check_here(case, "a run with other parameters, another entry, or other threads")
    _check_here(other.case, "a run on a device")
    same_inputs = replace(other.case, model=replace(other.case.model, inputs=case.model.inputs))
    return Variant(
        name=other.case.label,
        process=lambda folder: library_side(same_inputs, other.artifact, other.case.label, folder),
    )


def _reference(case: Case, runtime: str) -> Variant:
    _check_here(case, runtime)
    name = f"{runtime} {_version(runtime)}".rstrip()
    reference = case.model.references[runtime]

    def process(folder: Path) -> SideProcess:
        model = folder / "model"
        reference.save(model)
        call_file = folder / "reference.call"
        write_message(
            call_file,
            ReferenceCall(
                runtime=runtime,
                model=model,
                inputs=case.model.inputs,
                num_threads=case.num_threads,
                cold_cache=case.options.cold_cache,
            ),
        )
        return SideProcess(
            kind=ReferenceSide, context=_resident_context(case, name), call=call_file
        )

    return Variant(name=name, process=process)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # another distribution has it, such as onnxruntime-gpu
        return ""


def _resident_context(case: Case, name: str) -> ResidentContext:
    return ResidentContext(
        side=name,
        interpreter=OtherInterpreter(
            python=Path(sys.executable), path=tuple(import_path()), setup=tuple(setup_in_use())
        ),
        scratch=case.store.scratch,
        log_path=case.log_path("gate"),
        num_threads=case.num_threads,
        timeout_s=case.options.timeout_s,
    )


def _is_called_alike(case: Case, other: Case) -> bool:
    """Whether one process can run both: its threads, entry, and parameters are the same."""
    same = (
        case.model.signature.entry == other.model.signature.entry
        and case.num_threads == other.num_threads
        and case.remote == other.remote
    )
    return same and case.model.data_digest == other.model.data_digest


def _check_stock(case: Case, other: str) -> None:
    if case.model.is_ready:
        raise ModelError(
            f"this model doesn't go through the stock pipeline, so it has no variant {other!r}"
        )


def _check_here(case: Case, what: str) -> None:
    if case.remote is not None:
        raise ModelError(
            f"{case.label} is on the device {case.remote.address}: {what} can be compared with "
            "runs on this machine only"
        )
