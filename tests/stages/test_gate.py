"""Verdicts on real artifacts: what is measured, what isn't, and what can't be compared."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm.script import tirx as T  # noqa: N812

from pytest_tvmtune.core.errors import BaselineError
from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.core.gating.confidence_sequence import Epoch, item_alpha
from pytest_tvmtune.core.results.latency_result import LatencyResult
from pytest_tvmtune.relax.devices.cpu_features import lacking_features
from pytest_tvmtune.relax.measuring.gate_job import Result
from pytest_tvmtune.stages.case import Case
from pytest_tvmtune.stages.compiling import BuiltModel, load
from pytest_tvmtune.stages.devices.loaded_model import LoadedModel
from pytest_tvmtune.stages.latency.latency_gate import judge_latency
from pytest_tvmtune.stages.latency.paired_measurement import Measure
from pytest_tvmtune.store import artifacts
from pytest_tvmtune.store.layout import Store, open_store
from tests.support.cases import accept, build_of, opener
from tests.support.chains import chain, chain_data

pytestmark = pytest.mark.timed
X, W = chain_data()
GIVEN: dict[str, Any] = {"params": [W], "inputs": [X]}
# Wide: what is equal must never be far from it, what differs by half always.
WIDE = {"threshold": "20%", "max_time": "60s"}
REPAIR = (
    "; import the baseline with `tvmtune baselines import FILE`, or accept this run with "
    "--tvm-update"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A case, built and loaded."""

    case: Case
    built: BuiltModel
    loaded: LoadedModel

    def judged(self, baseline: Baseline | BaselineError, **options: Any) -> LatencyResult:
        self.gate_log.unlink(missing_ok=True)
        latency = judge_latency(self.case, self.built, self.loaded, baseline, **options).latency
        assert len(latency.samples_s) == (latency.pairs or len(latency.samples_s)) >= 1
        assert len(latency.baseline_samples_s) == latency.pairs
        assert len(latency.epoch_ratios) == latency.epochs
        assert latency.median_s
        return latency

    @property
    def gate_log(self) -> Path:
        """There once a child was started for the gate."""
        return self.case.log_path("gate")

    def reason(self, baseline: Baseline | BaselineError) -> str:
        """Return why there is nothing to compare with, having seen that nothing was run for it."""
        latency = self.judged(baseline)
        assert (latency.verdict, latency.epochs) == ("INCOMPARABLE", 0)
        assert not self.gate_log.exists()
        assert latency.message.endswith(REPAIR)
        return latency.message.removesuffix(REPAIR)


Candidates = Callable[..., Candidate]


def measured_as(
    *ratios: float, noise: Sequence[float] = (), noise_epochs: int = 40, placements: int = 40
) -> Measure:
    """Return what says of any two artifacts that these are their ratios, over and over."""

    def epochs(wanted: Sequence[float], count: int = 40) -> list[Epoch]:
        repeated = itertools.islice(itertools.cycle(wanted), count if wanted else 0)
        return [Epoch(baseline_s=(1e-6,) * 3, now_s=(1e-6 * ratio,) * 3) for ratio in repeated]

    def measure(*_: Any, **__: Any) -> Result:
        return Result(
            epochs=epochs(ratios),
            noise=epochs(noise, noise_epochs),
            placements=placements,
            spent_s=1.5,
            num_threads=1,
        )

    return measure


def on_more_threads(baseline: Baseline) -> Baseline:
    """Return a baseline that the very same library is measured against."""
    return replace(baseline, num_threads=baseline.num_threads + 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("gate") / "store")


@pytest.fixture(scope="module")
def candidate(store: Store) -> Candidates:
    """Return candidate(mod, **what `open_` takes) -> Candidate, all on one store."""

    def opened(mod: Any = None, *, gated_items: int = 1, **options: Any) -> Candidate:
        settings = {**WIDE, **options.pop("settings", {})}
        open_ = opener(store, gated_items=gated_items)
        case = open_(mod or chain(), settings=settings, **GIVEN, **options)
        built = build_of(case)
        return Candidate(case=case, built=built, loaded=load(case, built))

    return opened


@pytest.fixture(scope="module")
def usual(candidate: Candidates) -> Candidate:
    return candidate()


@pytest.fixture(scope="module")
def accepted(usual: Candidate) -> Baseline:
    return accept(usual.case, usual.built)


@pytest.fixture
def damaged(accepted: Baseline, store: Store) -> Iterator[artifacts.Artifact]:
    """Return the baseline's artifact, which is whole again after the test."""
    artifact = artifacts.find(store, accepted.artifact)
    folder = artifact.library.parent
    whole = folder.with_name("whole")
    # Other files: this process has the library mapped, and changing that would change its code.
    folder.rename(whole)
    shutil.copytree(whole, folder)
    yield artifact
    shutil.rmtree(folder)
    whole.rename(folder)


def test_the_same_code_passes_without_being_measured(usual: Candidate, accepted: Baseline) -> None:
    """Whatever machine it was accepted on, however fast that was."""
    elsewhere = {**accepted.fingerprint, "cpu": "Babbage Engine", "usable_cores": 1000}
    faster = replace(accepted, fingerprint=elsewhere, samples_s=(1e-9,))
    target = json.dumps({**json.loads(accepted.target), "num-cores": 1000})
    for baseline in (accepted, faster, replace(accepted, target=target)):
        latency = usual.judged(baseline)
        assert (latency.verdict, latency.same_code) == ("PASS", True)
        assert (latency.epochs, latency.interval, latency.slowdown_ratio) == (0, None, None)
        assert latency.baseline_median_s == latency.accepted_median_s == baseline.median_s
        assert latency.accepted_on["cpu"] == baseline.fingerprint["cpu"]
        assert not usual.gate_log.exists()


@pytest.mark.parametrize("differs", ["num_threads", "tvm", "tvm_ffi"])
def test_the_same_library_under_other_circumstances_is_measured(
    usual: Candidate, accepted: Baseline, differs: str
) -> None:
    if differs == "num_threads":
        baseline = on_more_threads(accepted)
    else:
        baseline = replace(accepted, fingerprint={**accepted.fingerprint, differs: "0.26.0"})
    latency = usual.judged(baseline, measure=measured_as(0.99, 1.01))
    assert (latency.verdict, latency.same_code, latency.epochs) == ("PASS", False, 40)
    versions = {
        "tvm": r"TVM 0\.26\.0 \(ffi [\d.a-z]+\)",
        "tvm_ffi": r"TVM [\d.a-z]+ \(ffi 0\.26\.0\)",
    }
    if differs in versions:
        added = rf"; .* built with {versions[differs]}, and this run with TVM [\d.a-z]+ \(ffi .*\)$"
        assert re.search(added, latency.message)
        assert latency.accepted_on[differs] == "0.26.0"
    else:
        assert latency.message.endswith(", limit 1.20x")


def test_another_library_that_does_the_same_passes(
    candidate: Candidates, accepted: Baseline
) -> None:
    renamed = candidate(chain(naming="other"))
    assert renamed.built.artifact.sha256 != accepted.artifact
    latency = renamed.judged(accepted)
    assert (latency.verdict, latency.same_code) == ("PASS", False)
    assert latency.num_threads == renamed.case.num_threads
    assert latency.spent_s < 60


def test_half_as_much_again_is_a_regression(candidate: Candidates, accepted: Baseline) -> None:
    latency = candidate(chain(150)).judged(accepted)
    assert latency.verdict == "REGRESSION"
    assert latency.interval
    assert latency.slowdown_ratio
    assert 1.2 < latency.interval[0] <= latency.slowdown_ratio <= latency.interval[1]


def test_a_verdict_comes_with_its_evidence(candidate: Candidates, accepted: Baseline) -> None:
    """The session's share of error goes to 3 items, the first call's of this one left aside."""
    one_of_three = candidate(gated_items=3)
    slower = measured_as(1.49, 1.5, 1.51)
    latency = one_of_three.judged(on_more_threads(accepted), measure=slower, gated_before=1)
    assert latency.verdict == "REGRESSION"
    alpha = item_alpha(3, 1)
    assert latency.confidence == pytest.approx(1 - 2 * alpha, abs=1e-12)
    number = r"\d+(\.\d+)?x"
    assert re.fullmatch(
        rf"1\.5\d*x slower \(99\.\d+ % confidence: {number} to {number}\), limit 1\.20x",
        latency.message,
    )
    assert (latency.median_s, latency.baseline_median_s) == pytest.approx((1.5e-6, 1e-6))
    assert latency.accepted_median_s == accepted.median_s
    assert latency.epoch_ratios[:3] == pytest.approx((1.49, 1.5, 1.51))
    assert latency.noise == pytest.approx(math.log(1.51 / 1.5) * 1.4826, abs=1e-3)
    assert (latency.spent_s, latency.num_threads, latency.placements) == (1.5, 1, 40)
    faster = one_of_three.judged(on_more_threads(accepted), measure=measured_as(0.5, 0.51))
    assert faster.verdict == "IMPROVEMENT"


def test_undecided_says_what_the_machine_can_tell_apart(
    usual: Candidate, accepted: Baseline
) -> None:
    def judged(**options: Any) -> LatencyResult:
        measure = measured_as(0.8, 1.6, **options)
        latency = usual.judged(on_more_threads(accepted), measure=measure)
        assert latency.verdict == "INCONCLUSIVE"
        return latency

    latency = judged(noise=(0.9, 1.1))
    assert re.search(
        r", limit 1\.20x; undecided after 1\.5 s; a comparison of the baseline with itself shows "
        r"that "
        r"this machine can now decide slowdowns of \d+\.\d % or more",
        latency.message,
    )
    assert latency.resolvable_ratio
    assert latency.resolvable_ratio > 1
    undecided = judged(noise=(0.9, 1.1), noise_epochs=3).message
    assert "a comparison of the baseline with itself was undecided, too" in undecided
    few = "; a side was placed in memory only 2 times, and the effect of its placement is not "
    assert few in judged(placements=2).message


def test_cold_caches_make_a_short_call_several_times_as_long(candidate: Candidates) -> None:
    """One kernel: less than a microsecond, but for weights and code that come from memory."""
    quick = {"threshold": "400%"}
    warm = candidate(chain(1), settings=quick)
    cold = candidate(chain(1), settings={**quick, "cold_cache": True})
    baseline = accept(warm.case, warm.built)
    measured = replace(baseline, num_threads=baseline.num_threads + 1)
    told = [one.judged(measured) for one in (warm, cold)]
    assert [one.verdict for one in told] == ["PASS", "PASS"]
    medians = [one.baseline_median_s for one in told]
    assert medians[0]
    assert medians[1]
    assert medians[1] > 2 * medians[0]


def test_another_interface_or_target_can_not_be_compared(
    usual: Candidate, accepted: Baseline
) -> None:
    assert usual.reason(BaselineError("torn page")) == "torn page"
    for name, value in (("entry", "other"), ("inputs", []), ("lifts_params", False)):
        other = replace(accepted, signature={**accepted.signature, name: value})
        assert "interface changed since the baseline was accepted" in usual.reason(other)
    elsewhere = '{"kind": "llvm", "mcpu": "x86-64-v2"}'
    assert usual.reason(replace(accepted, target=elsewhere)) == (
        f"the baseline was built for another target: {elsewhere}"
    )


def test_a_missing_or_damaged_artifact_is_never_loaded(
    usual: Candidate, accepted: Baseline, damaged: artifacts.Artifact
) -> None:
    short = accepted.artifact[:12]
    content = bytearray(damaged.library.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.library.write_bytes(content)
    assert usual.reason(accepted) == (
        f"the baseline's artifact {short} is damaged (its bytes have another SHA-256)"
    )
    damaged.library.unlink()
    assert usual.reason(accepted) == f"the baseline's artifact {short} is missing"
    gone = replace(accepted, artifact="0" * 64)
    assert usual.reason(gone) == "the baseline's artifact 000000000000 is missing"


def test_a_damaged_manifest_is_no_manifest(
    usual: Candidate, accepted: Baseline, damaged: artifacts.Artifact
) -> None:
    manifest = damaged.library.with_name(artifacts.MANIFEST)
    for content in ("{half", "[]", "{}"):
        manifest.write_text(content)
        assert "its manifest is damaged" in usual.reason(accepted)


def test_what_is_no_library_is_told_by_the_child(
    usual: Candidate, accepted: Baseline, store: Store, tmp_path: Path
) -> None:
    """Its name is its hash, so that only loading it shows what it is."""
    broken = tmp_path / "broken.so"
    broken.write_bytes(usual.built.artifact.library.read_bytes()[:1000])
    published = artifacts.publish(store, broken, usual.built.artifact.manifest)
    latency = usual.judged(replace(accepted, artifact=published.sha256))
    assert latency.verdict == "INCOMPARABLE"
    assert usual.gate_log.exists()
    assert latency.message.startswith("the baseline's artifact can't be run: ")
    assert latency.message.endswith(REPAIR)


def test_a_baseline_that_crashes_is_the_baselines_fault(
    usual: Candidate, accepted: Baseline, store: Store, tmp_path: Path
) -> None:
    @T.prim_func(private=True, s_tir=True)
    def aborts(
        x: T.Buffer((64,), "float32"),
        w: T.Buffer((64, 64), "float32"),
        y: T.Buffer((64,), "float32"),
    ):
        for i in range(64):
            with T.sblock("y"):
                vi = T.axis.remap("S", [i])
                y[vi] = x[vi] + w[vi, 0] + T.Cast("float32", T.call_extern("int32", "abort"))

    target = tvm.target.Target(usual.case.target_json)
    library = tmp_path / "aborts.so"
    tvm.compile(chain(1, kernel=aborts), target).export_library(str(library))
    crashing = artifacts.publish(store, library, usual.built.artifact.manifest)
    latency = usual.judged(replace(accepted, artifact=crashing.sha256))
    assert latency.verdict == "INCOMPARABLE"
    assert latency.message.startswith("the baseline's artifact can't be run: ")
    assert "SIGABRT" in latency.message


def test_code_for_another_cpu_is_not_loaded_where_it_would_crash(
    candidate: Candidates, accepted: Baseline
) -> None:
    """`host` is another CPU on each machine; this one's code is compared wherever it runs."""
    here = candidate(target="host")
    # It may well be faster than the accepted one, which is for any CPU.
    assert here.judged(replace(accepted, target='{"kind": "llvm"}')).epochs > 0
    targets = [
        json.dumps({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": cpu})
        for cpu in ("sapphirerapids", "znver5")
    ]
    other = next(target for target in targets if lacking_features(target))
    told = here.reason(replace(accepted, target=other))
    lacking = ", ".join(lacking_features(other))
    assert told.startswith(f"the baseline was built for a CPU with {lacking}, which this CPU (")
    assert told.endswith(") lacks")
