"""Marks that an item gets after it was made, and targets that this machine lacks."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from tests.plugin.snippets import WORKER_IDS, WORKERS
from tests.plugin.test_selection import SUITE

CONFTEST = """
import pytest

ADDED = {
    "test_added": dict(threshold="7%", seed=4),
    "test_own_goes_first": dict(seed=4, num_threads=2),
    "test_the_same_item": dict(target=["llvm"], prepack=False, seed=2),
    "test_nonsense": dict(nonsense=4),
    "test_target": dict(target="host"),
    "test_prepack": dict(prepack="both"),
}

def pytest_collection_modifyitems(items):
    for item in items:
        if (arguments := ADDED.get(item.originalname)) is not None:
            item.add_marker(pytest.mark.tvm_tune(**arguments))
"""


def test_what_can_still_be_honoured_is(suite: pytest.Pytester) -> None:
    suite.makeconftest(CONFTEST)
    suite.makepyfile(
        SUITE
        + """
mark = pytest.mark.tvm_tune

@mark(threshold="4%", seed=3)
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=mark(threshold="55%"))])
def test_param(_tvmtune_case, n): note(_tvmtune_case)

@pytest.fixture(params=[pytest.param("x", marks=mark(seed=9))])
def size(request): return request.param

def test_fixture(_tvmtune_case, size): note(_tvmtune_case)

def test_added(_tvmtune_case): note(_tvmtune_case)

@mark(seed=3)
def test_own_goes_first(_tvmtune_case): note(_tvmtune_case)

def test_the_same_item(_tvmtune_case): note(_tvmtune_case)

@pytest.fixture
def marked(request): request.node.add_marker(mark(seed=77))

def test_by_a_fixture_before(marked, _tvmtune_case): note(_tvmtune_case)
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=7)
    lines = (suite.path / "told.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [(one["threshold"], one["seed"], one["num_threads"]) for one in told] == [
        ("4%", 3, None),
        ("55%", 3, None),
        ("3%", 9, None),
        ("7%", 4, None),
        ("3%", 3, 2),
        ("3%", 2, None),
        ("3%", 77, None),
    ]


TOO_LATE = "marker tvm_tune: target= and prepack= decide which items a test becomes, *"


def test_what_cannot_is_an_error(suite: pytest.Pytester) -> None:
    suite.makeconftest(CONFTEST)
    for name, argument in [("prepack", "prepack='both'"), ("target", "target='host'"),
                           ("nonsense", "nonsense=3")]:  # fmt: skip
        suite.makepyfile(
            **{
                f"test_{name}": f"""
                import pytest
                mark = pytest.mark.tvm_tune({argument})
                @pytest.mark.parametrize("n", [1, pytest.param(2, marks=mark)])
                def test_it(tvm_tune, n): pass
                """
            }
        )
    result = suite.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=3)
    for name, said in [("prepack", TOO_LATE), ("target", TOO_LATE),
                       ("nonsense", "marker tvm_tune: unknown argument 'nonsense'*")]:  # fmt: skip
        result.stdout.fnmatch_lines([f"test_{name}.py::test_it[[]2-llvm]: {said}"])


def test_what_a_conftest_adds_too_late_fails_that_item(suite: pytest.Pytester) -> None:
    suite.makeconftest(CONFTEST)
    suite.makepyfile(
        test_it="""
        import pytest
        def test_nonsense(tvm_tune): pass
        def test_target(tvm_tune): pass
        def test_prepack(tvm_tune): pass
        def test_too_late(tvm_tune, request):
            request.applymarker(pytest.mark.tvm_tune(seed=5))
        def test_fine(_tvmtune_case): pass
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(errors=3, failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_nonsense[[]llvm]: marker tvm_tune: unknown argument 'nonsense'*",
            f"test_it.py::test_target[[]llvm]: {TOO_LATE}",
            f"test_it.py::test_prepack[[]llvm]: {TOO_LATE}",
            "test_it.py::test_too_late[[]llvm]: the marker tvm_tune was added while the test *",
        ]
    )
    assert "During handling" not in result.stdout.str()


PINNED = """
import pytest

@pytest.mark.tvm_tune(target="cuda")
def test_device(tvm_tune): pass

@pytest.mark.tvm_tune(target="nvidia/nvidia-a100")
def test_tag(tvm_tune): pass

@pytest.mark.tvm_tune(target="llvm -mcpu={cpu}")
def test_cpu(tvm_tune): pass

@pytest.mark.tvm_tune(target=["cuda", "llvm"])
def test_two(_tvmtune_case): pass

@pytest.mark.tvm_tune(target="nokind")
def test_kind(tvm_tune): pass

@pytest.mark.tvm_tune(target="llvm -colour=red")
def test_attribute(tvm_tune): pass
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its targets are of x86")
@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_pinned_to_what_the_machine_lacks_a_test_is_skipped(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    # Each has instructions that the other maker's CPUs lack.
    is_intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    cpu = "znver5" if is_intel else "sapphirerapids"
    suite.makepyfile(test_it=PINNED.format(cpu=cpu))
    result = suite.runpytest_subprocess("-rs", *workers)
    result.assert_outcomes(skipped=4, passed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED [[]*target 'cuda': this machine has no such device",
            "SKIPPED [[]*target 'nvidia/nvidia-a100': this machine has no such device",
            f"SKIPPED [[]*target 'llvm -mcpu={cpu}': this machine's CPU lacks *",
            "test_it.py::test_kind[[]nokind]: marker tvm_tune: target 'nokind': unknown kind *",
            "test_it.py::test_attribute[[]*]: marker tvm_tune: target 'llvm -colour=red': *",
        ]
    )


def test_what_the_command_line_asks_for_ends_the_run(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.tvm_tune(target={"kind": "cuda", "arch": "sm_80"})
        def test_device(tvm_tune): pass
        """
    )
    result = suite.runpytest_subprocess("--tvm-target=cuda")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: target 'cuda': this machine has no such device"])
