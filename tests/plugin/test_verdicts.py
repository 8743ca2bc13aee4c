"""Baselines and verdicts: what each does to its test, to the store and to the reports."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from pytest_tvmtune.core.gating.confidence_sequence import fewest_epochs, item_alpha
from pytest_tvmtune.report.html_report import html_report
from pytest_tvmtune.report.json_report import report_schema
from pytest_tvmtune.report.markdown_report import markdown_report
from tests.plugin.snippets import TINY

ONE = (
    TINY
    + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
)


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("--tvm-json=report.json", *options)


def cases(suite: pytest.Pytester) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((suite.path / "report.json").read_text())["cases"]
    return found


def verdict(suite: pytest.Pytester) -> str:
    (case,) = cases(suite)
    return str(case["latency"]["verdict"])  # type: ignore[index]


def baselines(suite: pytest.Pytester) -> list[Path]:
    return sorted((suite.path / ".tvmtune" / "baselines").glob("*.json"))


def test_the_life_of_a_baseline(suite: pytest.Pytester) -> None:
    """New, accepted, the same, damaged, repaired: one story on one store."""
    suite.makepyfile(test_it=ONE)

    result = run(suite)
    result.assert_outcomes(passed=1, warnings=0)
    assert verdict(suite) == "NEW"
    assert baselines(suite) == []
    result.stdout.fnmatch_lines(
        ["1 case, 0 failed: 1 NEW; *(accept 1 new baseline with --tvm-update-new)"]
    )

    result = run(suite, "--tvm-strict")
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["tiny[[]llvm[]]: no baseline yet; * --tvm-update-new"])

    run(suite, "--tvm-update-new", "--tvm-strict").assert_outcomes(passed=1)
    (baseline,) = baselines(suite)
    assert baseline.name.startswith("test_it-test_tiny-tiny-llvm-")
    assert cases(suite)[0]["latency"]["accepted"] is True  # type: ignore[index]

    accepted = baseline.read_text()
    run(suite, "--tvm-strict", "--tvm-update-new").assert_outcomes(passed=1)
    assert verdict(suite) == "PASS"
    assert cases(suite)[0]["latency"]["same_code"] is True  # type: ignore[index]
    assert cases(suite)[0]["compiled_now"] is False
    assert baseline.read_text() == accepted

    artifact = suite.path / ".tvmtune" / "artifacts" / json.loads(accepted)["artifact"]
    library = artifact / "model.so"
    content = bytearray(library.read_bytes())
    content[-1] ^= 1
    library.write_bytes(content)
    for build in (suite.path / ".tvmtune" / "builds").iterdir():
        build.unlink()
    # Compiled again the bytes are the same: the artifact is whole once more.
    run(suite).assert_outcomes(passed=1)
    assert verdict(suite) == "PASS"

    baseline.write_text("{half")
    result = run(suite)
    result.assert_outcomes(passed=1, warnings=1)
    assert verdict(suite) == "INCOMPARABLE"
    result.stdout.fnmatch_lines(["*INCOMPARABLE: *test_it-test_tiny*accept*--tvm-update"])
    run(suite, "--tvm-strict").assert_outcomes(failed=1)
    run(suite, "--tvm-update-new").assert_outcomes(passed=1, warnings=1)
    assert baseline.read_text() == "{half"
    run(suite, "--tvm-update").assert_outcomes(passed=1)
    run(suite, "--tvm-strict").assert_outcomes(passed=1)


def test_a_baseline_that_can_not_be_run(suite: pytest.Pytester) -> None:
    wide = ONE.replace("nn.Linear(8, 8)", "nn.Linear(8, 16)")
    wide = wide.replace("standard_normal((8, 8))", "standard_normal((16, 8))")
    wide = wide.replace("standard_normal(8)", "standard_normal(16)")
    relu = ONE.replace("self.fc(x)", "nn.op.relu(self.fc(x))")
    relu = relu.replace("EXPECTED = X @ W.T + B", "EXPECTED = np.maximum(X @ W.T + B, 0)")
    suite.makepyfile(test_it=ONE)
    run(suite, "--tvm-update-new").assert_outcomes(passed=1)
    old = json.loads(baselines(suite)[0].read_text())["artifact"]

    suite.makepyfile(test_it=wide)
    result = run(suite)
    result.assert_outcomes(passed=1, warnings=1)
    repair = (
        "import the baseline with `tvmtune baselines import FILE`, or accept this run with "
        "--tvm-update"
    )
    result.stdout.fnmatch_lines(
        [f"*INCOMPARABLE: the model's interface changed since the baseline was accepted; {repair}"]
    )

    # The same interface, other code, and the accepted library is gone.
    suite.makepyfile(test_it=relu)
    (suite.path / ".tvmtune" / "artifacts" / old / "model.so").unlink()
    result = run(suite)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [f"*INCOMPARABLE: the baseline's artifact {old[:12]} is missing; {repair}"]
    )
    run(suite, "--tvm-strict").assert_outcomes(failed=1)


CHAIN = (
    TINY
    + """
class Chain(nn.Module):
    \"\"\"Products in a row: how many decides the latency, not the interface.\"\"\"
    def __init__(self):
        self.fc = nn.Linear(256, 256, bias=False)
    def forward(self, x):
        for _ in range(LENGTH):
            x = self.fc(x)
        return x

CHAIN = {"forward": {"x": nn.spec.Tensor((64, 256), "float32")}}

@pytest.mark.tvm_tune(trials=0, atol=1.0)
def test_chain(tvm_tune):
    tvm_tune(Chain(), spec=CHAIN).check()
"""
)


@pytest.mark.timed
def test_slower_fails_faster_passes(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(test_it="LENGTH = 2\n" + CHAIN)
    run(suite, "--tvm-update-new").assert_outcomes(passed=1)
    accepted = baselines(suite)[0].read_text()

    suite.makepyfile(test_it="LENGTH = 4\n" + CHAIN)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    paths = ("--junitxml=junit.xml", "--tvm-html=site/report.html", "--tvm-markdown=report.md")
    result = run(suite, *paths)
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert verdict(suite) == "REGRESSION"
    result.stdout.fnmatch_lines(
        [
            "chain[[]llvm[]]: *x slower (* % confidence: * to *), limit 1.03x",
            "  cause: model changed (called: matmul 2 -> 4 times, transpose 2 -> 4 times)",
            "  costs more: matmul (same code) +* (* -> *, *x)*",
            "  accept with --tvm-update",
        ]
    )
    kernels = {row["name"]: row for row in cases(suite)[0]["kernels"]["rows"]}  # type: ignore[index]
    assert (kernels["matmul"]["calls"], kernels["matmul"]["code_differs"]) == (4, False)
    latency = cases(suite)[0]["latency"]
    assert latency["cause"]["kind"] == "model"  # type: ignore[index]
    assert 1.5 < latency["slowdown_ratio"] < 3  # type: ignore[index]
    assert latency["epochs"] >= fewest_epochs(item_alpha(1))  # type: ignore[index]
    (failure,) = ET.parse(suite.path / "junit.xml").getroot().iter("failure")
    assert "slower" in str(failure.get("message"))
    assert baselines(suite)[0].read_text() == accepted
    every_report_tells(suite)

    run(suite, "--tvm-threshold=1s").assert_outcomes(passed=1)
    assert verdict(suite) == "PASS"

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path))
    result = run(suite, "--tvm-update")
    result.assert_outcomes(passed=1)
    assert baselines(suite)[0].read_text() != accepted
    # Nobody asked for a summary that can't be written: it is told, and fails nothing.
    result.stdout.fnmatch_lines(["no step summary: can't write *--tvm-step-summary=off"])
    assert result.ret == pytest.ExitCode.OK

    suite.makepyfile(test_it="LENGTH = 2\n" + CHAIN)
    result = run(suite, "--tvm-strict", "--tvm-step-summary=off")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("no step summary*")
    assert verdict(suite) == "IMPROVEMENT"


def every_report_tells(suite: pytest.Pytester) -> None:
    """Whatever format: the same case, made from what was measured."""
    report = json.loads((suite.path / "report.json").read_text())
    jsonschema.validate(report, report_schema(), cls=jsonschema.Draft202012Validator)
    (case,) = report["cases"]
    latency = case["latency"]
    assert len(latency["epoch_ratios"]) == latency["epochs"]
    assert len(latency["samples_s"]) == len(latency["baseline_samples_s"]) == latency["pairs"]
    assert 1 < latency["limit_ratio"] < latency["interval"][0]
    assert {"gate", "kernels"} <= case["logs"].keys()
    assert all(Path(path).is_file() for path in case["logs"].values())

    properties = {
        one.get("name"): one.get("value")
        for one in ET.parse(suite.path / "junit.xml").getroot().iter("property")
    }
    assert properties["tvmtune.verdict"] == "REGRESSION"
    assert properties["tvmtune.slowdown_ratio"] == f"{latency['slowdown_ratio']:.6g}"

    page = (suite.path / "site" / "report.html").read_text()
    assert page == html_report(report, links_from=suite.path / "site")
    assert 'href="../.tvmtune/logs/' in page
    markdown = (suite.path / "report.md").read_text()
    assert markdown == markdown_report(report)
    assert (suite.path / "summary.md").read_text() == f"\n{markdown}"


@pytest.mark.parametrize(
    "ending",
    [
        "run.check(EXPECTED + 1)",
        "run.assert_no_regression(); run.assert_allclose(EXPECTED + 1)",
        "run.check(EXPECTED); assert False",
        "run.check(EXPECTED); request.addfinalizer(lambda: 1 / 0)",
    ],
    ids=["wrong", "wrong-later", "fails-later", "teardown-fails"],
)
def test_nothing_is_accepted_from_a_test_that_fails(suite: pytest.Pytester, ending: str) -> None:
    suite.makepyfile(
        TINY
        + f"""
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, request):
    run = tvm_tune(Tiny(), **GIVEN)
    {ending}
"""
    )
    result = run(suite, "--tvm-update")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert baselines(suite) == []
    assert cases(suite)[0]["outcome"] == "failed"


def test_wrong_numbers_say_where(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=0, prepack="on")
def test_tiny(tvm_tune):
    WRONG = EXPECTED.copy()
    WRONG[1, 3] += 0.5
    tvm_tune(Tiny(), **GIVEN).check(WRONG)
"""
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            (
                "tiny[[]llvm-prepack[]]: wrong numbers against expected: output float32[[]2, 8[]]: "
                "1 of 16 values differs (6.2 %)"
            ),
            "  max abs error 0.5, * at [[]1, 3[]]: got *, expected *",
            "  tolerance: atol=1e-05, rtol=0.0001",
            "tiny *WRONG NUMBERS",
        ]
    )
    (case,) = cases(suite)
    errors = {error["against"]: error["passed"] for error in case["errors"]}  # type: ignore[attr-defined]
    # check() goes on to the end: the other comparison was made too.
    assert errors == {"expected": False, "not prepacked": True}


def test_a_run_that_nothing_checked(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    assert tvm_tune(Tiny(), **GIVEN).outputs.shape == (2, 8)
"""
    )
    result = run(suite)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*tiny[[]llvm[]]: nothing was checked; call run.check()*"])
    run(suite, "--tvm-strict").assert_outcomes(failed=1)


def test_each_case_has_a_baseline_of_its_own(suite: pytest.Pytester) -> None:
    source = (
        TINY
        + """
@pytest.mark.tvm_tune(trials=0, prepack="both")
class TestMany:
    @pytest.mark.parametrize("scale", [1.0, 2.0])
    def test_tiny(self, tvm_tune, scale):
        tvm_tune(Tiny(), **GIVEN).check()
        tvm_tune(Tiny(), **GIVEN, name="again").check()

@pytest.mark.tvm_tune(trials=0)
def test_other(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check()
"""
    )
    suite.makepyfile(test_it=source)
    run(suite, "--tvm-update-new", "-n", "2").assert_outcomes(passed=5)
    everything = {path: path.read_text() for path in baselines(suite)}
    assert len(everything) == 9
    # A partial run leaves the others alone.
    run(suite, "--tvm-update", "-k", "test_other").assert_outcomes(passed=1, deselected=4)
    changed = [path for path in baselines(suite) if path.read_text() != everything[path]]
    assert all("test_other" in path.name for path in changed)
    # With and without workers they are the same cases.
    run(suite, "--tvm-strict").assert_outcomes(passed=5)
    assert {case["latency"]["verdict"] for case in cases(suite)} == {"PASS"}  # type: ignore[index]
