"""The measuring child: two libraries of known work side by side, until their ratio is decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_tvmtune.core.errors import ChildError
from pytest_tvmtune.core.gating.confidence_sequence import (
    MIN_EPOCHS,
    Epoch,
    decide,
    evidence_of,
    fewest_epochs,
    item_alpha,
    least_epochs,
)
from pytest_tvmtune.core.job_stage import LOADING_BASELINE, LOADING_OTHER
from pytest_tvmtune.core.settings.quantities import parse_threshold
from pytest_tvmtune.processes.job import JobContext
from pytest_tvmtune.processes.run_job import run_job
from pytest_tvmtune.relax.devices import machine as machine_module
from pytest_tvmtune.relax.devices.machine import ThisMachine
from pytest_tvmtune.relax.measuring.epochs import MOST_PAIRS
from pytest_tvmtune.relax.measuring.gate_job import JOB, Limit, Request, Result
from pytest_tvmtune.relax.measuring.session import open_session
from pytest_tvmtune.relax.measuring.timing import make_timer
from pytest_tvmtune.store.artifacts import Artifact
from pytest_tvmtune.store.locks import exclusive_cores
from tests.relax.libraries import ThreeKinds, compared_of, compiled
from tests.support.chains import chain, chain_data

pytestmark = pytest.mark.timed
# Wide, so that no neighbour's load blurs what differs by half.
THRESHOLD = parse_threshold("20%", "threshold")
LIMIT = Limit(threshold=THRESHOLD, alpha=item_alpha(1))
# Nothing is ever within it, or beyond it for sure.
HAIR = parse_threshold("0.00001%", "threshold")
X, W = chain_data()
Measure = Callable[..., Result]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("libraries")
    modules = {
        "usual": chain(),
        "renamed": chain(naming="other"),
        "longer": chain(150),
        "shorter": chain(60),
        "slow": chain(rounds=60),
    }
    made = {name: compiled(mod, folder / f"{name}.so") for name, mod in modules.items()}
    for name, prepack in (("plain", False), ("packed", True)):
        made[name] = compiled(ThreeKinds, folder / f"{name}.so", prepack=prepack)
    return made


@pytest.fixture
def measure(sides: dict[str, Artifact], tmp_path: Path) -> Measure:
    """Return measure(baseline, now, **changes of the request) -> what the job tells.

    baseline, now: names among the sides, or sides themselves.
    """

    def measured(
        baseline: Any,
        now: Any,
        *others: Any,
        params: Any = (W,),
        x: Any = X,
        cold_cache: bool = False,
        **changes: Any,
    ) -> Result:
        given = (baseline, now, *others)
        artifacts = [sides[one] if isinstance(one, str) else one for one in given]
        values = {"max_time_s": 60.0, "limit": LIMIT, "tell_noise": True, **changes}
        request = Request(
            compared=compared_of(*artifacts, params=params, x=x, cold_cache=cold_cache), **values
        )
        context = JobContext(
            scratch=tmp_path / "tmp", log_path=tmp_path / "gate.log", timeout_s=120, num_threads=1
        )
        # Other tests' compilers would slow it down.
        with exclusive_cores():
            return run_job(JOB, request, context)

    return measured


def decided(told: Result) -> str:
    return verdict_of(told.epochs)


def verdict_of(epochs: Sequence[Epoch], *, final: bool = True) -> str:
    return decide(evidence_of(epochs, LIMIT.alpha), THRESHOLD, final=final)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [("renamed", "PASS"), ("longer", "REGRESSION"), ("shorter", "IMPROVEMENT")],
)
def test_what_does_more_work_is_slower(
    sides: dict[str, Artifact], measure: Measure, now: str, verdict: str
) -> None:
    bytes_of = [sides[name].library.read_bytes() for name in ("usual", now)]
    assert bytes_of[0] != bytes_of[1]
    told = measure("usual", now)
    assert decided(told) == verdict
    # Stopped when it was decided, long before the time was over.
    assert told.spent_s < 60
    assert fewest_epochs(item_alpha(1)) <= len(told.epochs)
    assert all(len(epoch.now_s) <= MOST_PAIRS for epoch in told.epochs)
    assert told.noise == []
    assert told.num_threads == 1


def test_a_slow_model_gets_its_epochs_however_short_the_time(measure: Measure) -> None:
    """Nothing is decided, so the baseline is measured against itself as well."""
    alpha = 1e-6
    limit = Limit(threshold=HAIR, alpha=alpha)
    told = measure("slow", "slow", limit=limit, max_time_s=1e-3)
    assert len(told.epochs) == least_epochs(alpha) > 2 * MIN_EPOCHS
    assert all(len(epoch.now_s) < MOST_PAIRS for epoch in told.epochs)
    assert len(told.noise) >= least_epochs(alpha) // 2
    assert told.spent_s >= sum(sum(epoch.baseline_s) + sum(epoch.now_s) for epoch in told.epochs)


def test_a_quick_model_is_measured_until_the_time_is_over(measure: Measure) -> None:
    alpha = 1e-4
    limit = Limit(threshold=HAIR, alpha=alpha)
    told = measure("usual", "usual", limit=limit, max_time_s=2.0, tell_noise=False)
    assert len(told.epochs) >= least_epochs(alpha)
    assert told.spent_s >= 2
    assert told.noise == []


def test_cold_caches(measure: Measure) -> None:
    told = measure("usual", "longer", cold_cache=True)
    assert decided(told) == "REGRESSION"


def test_packed_against_plain_parameters(measure: Measure) -> None:
    """What trades places is measured as often each way: an even number of pairs."""
    rng = np.random.default_rng(3)
    params = [rng.standard_normal(shape, "float32") for shape in ((8, 8), (8, 5), ())]
    x = rng.standard_normal((2, 8), "float32")
    told = measure("plain", "packed", params=params, x=x)
    assert all(len(epoch.now_s) % 2 == 0 for epoch in told.epochs)


def test_the_anchor_is_measured_in_the_same_epochs(
    sides: dict[str, Artifact], measure: Measure
) -> None:
    """As slow as the baseline, and half as fast again as the anchor: both ratios are decided."""
    told = measure("usual", "renamed", "shorter", other_limits=(LIMIT,))
    assert (decided(told), verdict_of(told.other_epochs[0])) == ("PASS", "REGRESSION")
    for own, others in zip(told.epochs, told.other_epochs[0], strict=False):
        assert own.now_s == others.now_s
        assert own.baseline_s != others.baseline_s
    # Each has its epochs until it's decided: one more could undo that.
    for epochs in (told.epochs, told.other_epochs[0]):
        assert verdict_of(epochs[:-1], final=False) == "INCONCLUSIVE"
    # The same library as the baseline's is not measured twice.
    told = measure("usual", "longer", sides["usual"], other_limits=(LIMIT,))
    assert told.other_epochs == [told.epochs]
    assert decided(told) == "REGRESSION"
    # That of this run is, next to its copy.
    told = measure("longer", "usual", sides["usual"], other_limits=(LIMIT,))
    assert (decided(told), verdict_of(told.other_epochs[0])) == ("IMPROVEMENT", "PASS")
    assert all(epoch.now_s != epoch.baseline_s for epoch in told.other_epochs[0])


def test_a_library_that_can_not_be_loaded_is_told_from_the_other(
    sides: dict[str, Artifact], measure: Measure, tmp_path: Path
) -> None:
    half = tmp_path / "half.so"
    half.write_bytes(sides["usual"].library.read_bytes()[:1000])
    broken = replace(sides["usual"], library=half)
    with pytest.raises(ChildError) as caught:
        measure(broken, sides["usual"])
    assert caught.value.stage == LOADING_BASELINE
    with pytest.raises(ChildError, match="loading another artifact") as caught:
        measure(sides["usual"], sides["renamed"], broken, other_limits=(LIMIT,))
    assert caught.value.stage == LOADING_OTHER
    with pytest.raises(ChildError, match="loading this run's artifact") as caught:
        measure(sides["usual"], broken)
    assert caught.value.stage != LOADING_BASELINE


def test_each_call_finds_the_caches_flushed_and_the_flush_is_not_timed(
    sides: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = sides["usual"].library
    point = sides["usual"].manifest.entries["main"]
    machine = ThisMachine("cpu")
    session = open_session(library, "main", point, params=[W], inputs=[X], machine=machine)
    events: list[str] = []

    def flush() -> None:
        events.append("flush")
        time.sleep(0.05)

    def instrument(_function: Any, name: str, before: bool, *_: Any) -> int:
        if before and name == "kernel" and events[-1] != "call":
            events.append("call")
        return 0

    monkeypatch.setattr(machine_module, "cache_flusher", lambda: flush)
    arguments = (*session.inputs, *session.params)
    timer = make_timer(machine, session.vm, "main", arguments, cold_cache=True)
    session.vm.set_instrument(instrument)
    seconds = timer(3)
    session.vm.set_instrument(None)
    assert events == ["flush", "call"] * 3
    assert 0 < seconds < 0.05
