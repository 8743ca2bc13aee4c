"""The checks of `tvmtune doctor`: the installation, the machine, and the slowdown it can detect."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import EnvironmentProblemError, TvmTuneError, counted
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
from pytest_tvmtune.machine.mounts import mount_of
from pytest_tvmtune.machine.timing_hindrances import timing_hindrances
from pytest_tvmtune.relax.installation import startup_check
from pytest_tvmtune.report.text_tables import format_percent
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store, open_store

CheckState = Literal["ok", "note", "problem"]
# No measurement crosses it, so the measurement takes all of its time.
_NEVER = Threshold(text="none", ratio=1e-9)
_LITTLE_BYTES = 2_000_000_000
_COST_MODELS = ("xgboost", "xgboost-cpu")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a check.

    The state `problem` means that models, or their latency, can't be tested on this machine. The
    state `note` is for information.
    """

    name: str
    state: CheckState
    text: str


@dataclass(frozen=True, kw_only=True)
class Gating:
    """The gate to check: a threshold, a time limit, and the number of items in the session."""

    threshold: Threshold
    max_time_s: float
    items: int


def examine(folder: Path, gating: Gating) -> Iterator[Finding]:
    """Yield the findings, the quick checks first.

    It measures in a temporary store, so it leaves no files. folder: the store, which need not
    exist.
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
            # Without a cost model, the gate still works with stored records.
            works = works and (finding.state != "problem" or name == "tuning")
            yield finding
        yield _cores()
        yield from _hindrances()
        yield _store(folder)
        yield judge_locks(folder)
        if not works:
            yield Finding(
                name="noise", state="problem", text="not measured because of the problems above"
            )
            return
        yield from _instructions()
        yield from measure_noise(store, gating)


def _checked(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, state="ok", text=look())
    except EnvironmentProblemError as error:
        return Finding(name=name, state="problem", text=str(error))


def _versions(store: Store) -> str:
    startup_check.check_platform()
    warning = startup_check.check_tvm(store)
    startup_check.check_imports()
    here = fingerprint()
    works = f"apache-tvm {here.tvm} works with apache-tvm-ffi {here.tvm_ffi}; Python {here.python}"
    return f"{works}; {warning}" if warning else works


def _tuning() -> str:
    startup_check.check_tuning()
    found = {name: installed_version(name) for name in _COST_MODELS}
    there = [name for name, version in found.items() if version != "not installed"]
    if len(there) > 1:
        raise EnvironmentProblemError(
            "xgboost and xgboost-cpu are both installed, and overwrite each other: run pip "
            "uninstall xgboost xgboost-cpu, then pip install 'pytest-tvmtune[tune]'"
        )
    return ", ".join(f"cost model {name} {found[name]}" for name in there)


def _cores() -> Finding:
    here = fingerprint()
    allowed = len(allowed_cores())
    text = f"{here.usable_cores} usable of {here.cpu}"
    if here.usable_cores < allowed:
        text += f" (affinity allows {allowed}, the cgroup's quota fewer)"
    return Finding(name="cores", state="ok", text=text)


def _hindrances() -> Iterator[Finding]:
    found = timing_hindrances()
    for one in found:
        yield Finding(name="in the way", state="note", text=one)
    if not found:
        yield Finding(name="in the way", state="ok", text="none that Linux reports")


def _instructions() -> Iterator[Finding]:
    from pytest_tvmtune.relax.devices.cpu_features import lacking_features, vector_features
    from pytest_tvmtune.relax.devices.targets import canonical, resolve_target

    cpu, names = vector_features()
    text = (
        f"{', '.join(names) or 'no vector instructions'} ({cpu}); only target `host` uses them, "
        "not `llvm`"
    )
    yield Finding(name="CPU features", state="ok", text=text)
    host = canonical(resolve_target(parse_target("host", "target")))
    if lacking := lacking_features(host):
        yield Finding(
            name="CPU features",
            state="note",
            text=f"target `host` would use {', '.join(lacking)}, which Linux doesn't list for this "
            "machine: name an older CPU with --tvm-target='llvm -mcpu=...'",
        )


def _store(folder: Path) -> Finding:
    if not (folder / "CACHEDIR.TAG").is_file():
        text = f"{folder} doesn't exist yet: pytest makes it; for another folder, use --dir"
        return Finding(name="store", state="ok", text=text)
    found = list(problems(Store(root=folder)))
    free_bytes = shutil.disk_usage(folder).free
    if found:
        text = (
            f"{counted(len(found), 'damaged file')} in {folder}: run `tvmtune db verify` to list "
            "them"
        )
        return Finding(name="store", state="note", text=text)
    if free_bytes < _LITTLE_BYTES:
        text = f"{folder} has only {free_bytes / 1e6:.0f} MB of free space: run `tvmtune gc`"
        return Finding(name="store", state="note", text=text)
    return Finding(name="store", state="ok", text=f"{folder}: no damaged files")


def judge_locks(folder: Path) -> Finding:
    """Return a finding on the locks of a store: whether machines can share it."""
    mount = mount_of(folder)
    if mount is None:
        return Finding(name="locks", state="ok", text="the file system of the store isn't known")
    if mount.local_locks:
        text = (
            f"{folder} is on {mount.local_locks}: its locks may hold on this machine only, so use "
            "a separate store on each machine"
        )
        return Finding(name="locks", state="note", text=text)
    return Finding(name="locks", state="ok", text=f"{folder} is on {mount.kind}: its locks hold")


def measure_noise(
    store: Store, gating: Gating, given: Mapping[str, Any] | None = None, target: str = "llvm"
) -> Iterator[Finding]:
    """Yield findings on the threads and the noise of measurements. given: more settings."""
    from pytest_tvmtune.relax.importing import open_model
    from pytest_tvmtune.relax.measuring.calibration_model import calibration_model
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.stages.latency.paired_measurement import measure

    run = resolve_run(store_dir=store.root)
    layer = {
        "trials": 0,
        "threshold": _NEVER,
        "max_time": gating.max_time_s,
        **(given or {}),
    }
    options = run.case_options(layer, target=parse_target(target, "target"), prepack=False)
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
    text = f"TVM runs kernels on {counted(threads, 'thread')}"
    same = threads == case.num_threads
    yield Finding(
        name="threads",
        state="ok" if same else "note",
        text=f"{text}, as the target requests"
        if same
        else f"{text}; the target requests {case.num_threads}",
    )
    yield judge_noise(measured.epochs, alpha, measured.spent_s, gating)


def judge_noise(epochs: Sequence[Epoch], alpha: float, spent_s: float, gating: Gating) -> Finding:
    """Return a finding on a gate, from epochs of a library against itself."""
    evidence = evidence_of(epochs, alpha)
    resolvable = resolvable_ratio(evidence) - 1
    in_time = f"in {spent_s:.1f} s, for an item in a run of {counted(gating.items, 'item')}"
    if not math.isfinite(resolvable):
        return Finding(name="noise", state="problem", text=f"too few epochs {in_time}")
    text = (
        f"the gate can detect a slowdown of {format_percent(resolvable)} {in_time} "
        f"({counted(evidence.epochs, 'epoch')} of a library of "
        f"{1e6 * evidence.baseline_median_s:.0f} us against itself, noise "
        f"{format_percent(spread(epochs))} per epoch)"
    )
    if 1 + resolvable < gating.threshold.limits(evidence.baseline_median_s)[1]:
        return Finding(name="noise", state="ok", text=text)
    return Finding(
        name="noise",
        state="problem",
        text=f"{text}; the threshold of {gating.threshold.text} is smaller: raise --tvm-max-time "
        "or --tvm-threshold, or use a quieter machine",
    )
