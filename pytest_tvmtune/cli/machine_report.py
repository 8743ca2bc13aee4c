"""What of this machine helps or hinders tests of models, and which slowdown it can resolve."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import EnvironmentProblemError, TvmTuneError
from pytest_tvmtune.core.gating.confidence_sequence import (
    Epoch,
    evidence_of,
    item_alpha,
    resolvable_ratio,
    spread,
)
from pytest_tvmtune.core.settings.options import resolve_run
from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.core.settings.target_spec import parse_target
from pytest_tvmtune.machine.fingerprint import allowed_cores, fingerprint, installed_version
from pytest_tvmtune.machine.timing_hindrances import timing_hindrances
from pytest_tvmtune.relax.installation import startup_check
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store, open_store

CheckState = Literal["ok", "note", "problem"]
# Crossed by nothing, so that the measurement takes all of its time.
_NEVER = Threshold(text="none", ratio=1e-9)
_LITTLE_BYTES = 2_000_000_000
_COST_MODELS = ("xgboost", "xgboost-cpu")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. problem: tests of models, or their gate, make no sense here.

    note: worth knowing.
    """

    name: str
    state: CheckState
    text: str


@dataclass(frozen=True, kw_only=True)
class Gating:
    """What the gate shall resolve: threshold within max_time_s, in a session of so many items."""

    threshold: Threshold
    max_time_s: float
    items: int


def examine(folder: Path, gating: Gating) -> Iterator[Finding]:
    """Yield the findings, the quick ones first. folder: of the store, there or not.

    Nothing is left behind: what is measured lives in a temporary store.
    """
    with tempfile.TemporaryDirectory(prefix="tvmtune-doctor-") as temporary:
        store = open_store(Path(temporary))
        works = True
        for name, look in (
            ("versions", lambda: _versions(store)),
            ("compiler", startup_check.check_compiler),
            ("tuning", _tuning),
        ):
            finding = _checked(name, look)
            # Without a cost model what is stored can still be gated.
            works = works and (finding.state != "problem" or name == "tuning")
            yield finding
        yield _cores()
        yield from _hindrances()
        yield _store(folder)
        if not works:
            yield Finding(
                name="noise", state="problem", text="not measured: see the problems above"
            )
            return
        yield from _instructions()
        yield from _noise(store, gating)


def _checked(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, state="ok", text=look())
    except EnvironmentProblemError as error:
        return Finding(name=name, state="problem", text=str(error))


def _versions(store: Store) -> str:
    startup_check.check_platform()
    startup_check.check_pair(store)
    startup_check.check_imports()
    here = fingerprint()
    return f"apache-tvm {here.tvm} works with apache-tvm-ffi {here.tvm_ffi}; Python {here.python}"


def _tuning() -> str:
    startup_check.check_tuning()
    found = {name: installed_version(name) for name in _COST_MODELS}
    there = [name for name, version in found.items() if version != "not installed"]
    if len(there) > 1:
        raise EnvironmentProblemError(
            "xgboost and xgboost-cpu are the same module, installed over each other: "
            "pip uninstall xgboost xgboost-cpu, then pip install 'pytest-tvmtune[tune]'"
        )
    return ", ".join(f"cost model {name} {found[name]}" for name in there)


def _cores() -> Finding:
    here = fingerprint()
    allowed = len(allowed_cores())
    text = f"{here.usable_cores} usable of {here.cpu}"
    if here.usable_cores < allowed:
        text += f" ({allowed} by affinity, less by the cgroup's quota)"
    return Finding(name="cores", state="ok", text=text)


def _hindrances() -> Iterator[Finding]:
    found = timing_hindrances()
    for one in found:
        yield Finding(name="in the way", state="note", text=one)
    if not found:
        yield Finding(name="in the way", state="ok", text="nothing that Linux tells of")


def _instructions() -> Iterator[Finding]:
    from pytest_tvmtune.relax.devices.cpu_features import lacking_features, vector_features
    from pytest_tvmtune.relax.devices.targets import canonical, resolve_target

    cpu, names = vector_features()
    text = (
        f"{', '.join(names) or 'no vector instructions'} ({cpu}): by target `host`, not by `llvm`"
    )
    yield Finding(name="CPU features", state="ok", text=text)
    host = canonical(resolve_target(parse_target("host", "target")))
    if lacking := lacking_features(host):
        yield Finding(
            name="CPU features",
            state="note",
            text=f"target `host` would use {', '.join(lacking)}, which Linux doesn't list here: "
            "name an older CPU, --tvm-target='llvm -mcpu=...'",
        )


def _store(folder: Path) -> Finding:
    if not (folder / "CACHEDIR.TAG").is_file():
        text = f"none at {folder} yet: pytest makes it, or give another with --dir"
        return Finding(name="store", state="ok", text=text)
    found = list(problems(Store(root=folder)))
    free_bytes = shutil.disk_usage(folder).free
    if found:
        text = f"{len(found)} damaged files in {folder}: see tvmtune db verify"
        return Finding(name="store", state="note", text=text)
    if free_bytes < _LITTLE_BYTES:
        text = f"{folder} has only {free_bytes / 1e6:.0f} MB left: see tvmtune gc"
        return Finding(name="store", state="note", text=text)
    return Finding(name="store", state="ok", text=f"{folder}: every file is sound")


def _noise(store: Store, gating: Gating) -> Iterator[Finding]:
    from pytest_tvmtune.relax.importing import open_model
    from pytest_tvmtune.relax.measuring.calibration_model import calibration_model
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.stages.paired_measurement import measure

    run = resolve_run(store_dir=store.root)
    told = {"trials": 0, "threshold": _NEVER, "max_time": gating.max_time_s}
    options = run.case_options(told, target=parse_target("llvm", "target"), prepack=False)
    alpha = item_alpha(gating.items)
    try:
        case = open_case(
            open_model(calibration_model(), name="yardstick"),
            options,
            RunContext(store=store),
            name="yardstick",
            nodeid="",
        )
        artifact = build_untuned(case).artifact
        measured = measure(case, artifact, artifact, alpha=alpha, expected_s=1e-3, tell_noise=False)
    except TvmTuneError as error:
        yield Finding(name="noise", state="problem", text=f"not measured: {cause_of(error)}")
        return
    threads = measured.num_threads
    asked = "as many as" if threads == case.num_threads else f"not the {case.num_threads}"
    yield Finding(
        name="threads",
        state="ok" if threads == case.num_threads else "note",
        text=f"TVM runs kernels on {threads}, {asked} the target asks for",
    )
    yield judge_noise(measured.epochs, alpha, measured.spent_s, gating)


def judge_noise(epochs: Sequence[Epoch], alpha: float, spent_s: float, gating: Gating) -> Finding:
    """Return what epochs of a library against itself say of the gate that is wished for."""
    evidence = evidence_of(epochs, alpha)
    resolvable = resolvable_ratio(evidence) - 1
    in_time = f"in {spent_s:.1f} s, for one item of {gating.items}"
    if not math.isfinite(resolvable):
        return Finding(name="noise", state="problem", text=f"too few epochs {in_time}")
    text = (
        f"the gate can resolve {resolvable:.1%} {in_time} "
        f"({evidence.epochs} epochs of a library of {1e6 * evidence.baseline_median_s:.0f} us "
        f"against itself, noise {spread(epochs):.1%} an epoch)"
    )
    if 1 + resolvable < gating.threshold.limits(evidence.baseline_median_s)[1]:
        return Finding(name="noise", state="ok", text=text)
    return Finding(
        name="noise",
        state="problem",
        text=f"{text}: not the threshold of {gating.threshold.text}; give more by --tvm-max-time "
        "or --tvm-threshold, or a quieter machine",
    )
