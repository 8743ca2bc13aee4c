"""Set-ups in which a test runs more than once, is meant to fail, or gets its marks late."""

from __future__ import annotations

from tests.setups.harness import Setup, Step
from tests.setups.suites import FLAKY, MODEL, ONE, WRONG, XFAIL_WRONG

FILES = {"test_one.py": ONE}
# A regression: the second run's model calls its layer 60 times.
GROWN = (
    MODEL.replace(
        "import numpy", 'import os\nLAYERS = int(os.environ["LAYERS"])\nimport numpy'
    ).replace(
        "        return self.fc(x)",
        "        for _ in range(LAYERS):\n            x = self.fc(x)\n        return x",
    )
    + """

@pytest.mark.xfail(condition=LAYERS > 1, reason="known", strict=True)
@pytest.mark.tvm_tune(trials=0)
def test_grown(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).assert_no_regression()
"""
)


def late(marks: str) -> str:
    """Return a suite whose only test gets these further marks by pytest.param."""
    return (
        MODEL
        + f"""

@pytest.mark.tvm_tune(trials=0)
@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.tvm_tune({marks}))])
def test_tiny(tvm_tune, times):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
    )


def added(marks: str) -> dict[str, str]:
    """Return a suite whose only test gets these further marks from its conftest."""
    conftest = f"""
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.tvm_tune({marks}))
"""
    return {"test_one.py": ONE, "conftest.py": conftest}


REPEATING = [
    Setup(
        name="pytest-repeat, against a baseline",
        files=FILES,
        plugins=("pytest-repeat",),
        steps=(
            Step(arguments="--tvm-update-new", baselines=1),
            Step(arguments="--count=3", says=("3 passed",), silent=(r"\bNEW\b",), failed=0),
        ),
    ),
    Setup(
        name="pytest-repeat, accepting",
        files=FILES,
        plugins=("pytest-repeat",),
        steps=(
            Step(arguments="--count=3 --tvm-update-new", says=("3 passed",), baselines=1),
            Step(says=("1 passed",), silent=(r"\bNEW\b",), baselines=1),
        ),
    ),
    Setup(
        name="pytest-flakefinder",
        files=FILES,
        plugins=("pytest-flakefinder",),
        steps=(
            Step(arguments="--tvm-update-new", baselines=1),
            Step(
                arguments="--flake-finder --flake-runs=3 --tvm-update-new",
                says=("3 passed",),
                silent=(r"\bNEW\b",),
                baselines=1,
            ),
        ),
    ),
    Setup(
        name="pytest-rerunfailures, fails once",
        files={"test_one.py": FLAKY},
        plugins=("pytest-rerunfailures",),
        steps=(
            Step(
                arguments="--reruns=1 --tvm-update-new",
                says=("1 passed, 1 rerun",),
                silent=("1 failed",),
                cases=1,
                failed=0,
                baselines=1,
            ),
        ),
    ),
    Setup(
        name="pytest-rerunfailures, always fails",
        files={"test_one.py": WRONG},
        plugins=("pytest-rerunfailures",),
        steps=(
            Step(
                arguments="--reruns=2",
                exit_codes=(1,),
                says=("1 failed, 2 rerun",),
                cases=1,
                failed=1,
            ),
        ),
    ),
    Setup(
        name="pytest-rerunfailures under xdist",
        files={"test_one.py": FLAKY},
        plugins=("pytest-rerunfailures",),
        steps=(Step(arguments="--reruns=1 -n 2", says=("1 passed, 1 rerun",), cases=1, failed=0),),
    ),
    Setup(
        name="pytest-retry, fails once",
        files={"test_one.py": FLAKY},
        plugins=("pytest-retry",),
        steps=(
            Step(
                arguments="--retries=1 --tvm-update-new",
                tracebacks=True,
                says=("1 passed",),
                silent=("1 failed",),
                cases=1,
                failed=0,
                baselines=1,
            ),
        ),
    ),
    Setup(
        name="pytest-retry, always fails",
        files={"test_one.py": ONE + "    assert False\n"},
        plugins=("pytest-retry",),
        steps=(
            Step(
                arguments="--retries=1 --tvm-update-new",
                exit_codes=(1,),
                tracebacks=True,
                cases=1,
                failed=1,
                baselines=0,
            ),
        ),
    ),
    Setup(
        name="flaky, fails once",
        files={"test_one.py": FLAKY.replace("@pytest", "@pytest.mark.flaky\n@pytest")},
        plugins=("flaky",),
        steps=(
            Step(
                arguments="--tvm-update-new",
                says=("1 passed",),
                silent=("1 failed",),
                cases=1,
                failed=0,
                baselines=1,
            ),
        ),
    ),
    Setup(
        name="xfail of wrong numbers",
        files={"test_one.py": XFAIL_WRONG},
        steps=(Step(says=("1 xfailed",), silent=("1 failed",), cases=1, failed=0),),
    ),
    Setup(
        name="xfail of a regression",
        files={"test_one.py": GROWN},
        steps=(
            Step(environment={"LAYERS": "1"}, arguments="--tvm-update-new", baselines=1),
            Step(
                environment={"LAYERS": "60"},
                says=("1 xfailed", "REGRESSION"),
                silent=("1 failed",),
                cases=1,
                failed=0,
            ),
        ),
    ),
    Setup(
        name="late marks: pytest.param, a threshold",
        files={"test_one.py": late('threshold="55%"')},
        steps=(
            Step(arguments="--tvm-update-new", says=("1 passed",), baselines=1),
            Step(says=("1 passed",)),
        ),
    ),
    Setup(
        name="late marks: pytest.param, prepack",
        files={"test_one.py": late('prepack="both"')},
        steps=(Step(exit_codes=(2,), says=("prepack",)),),
    ),
    Setup(
        name="late marks: pytest.param, nonsense",
        files={"test_one.py": late("nonsense=3")},
        steps=(Step(exit_codes=(2,), says=("nonsense",)),),
    ),
    Setup(
        name="late marks: add_marker, a threshold",
        files=added('threshold="55%"'),
        steps=(Step(says=("1 passed",)),),
    ),
    # A hook that runs after collection can end a run only by a UsageError.
    Setup(
        name="late marks: add_marker, nonsense",
        files=added("nonsense=3"),
        steps=(Step(exit_codes=(1, 2, 4), says=("nonsense",)),),
    ),
    Setup(
        name="late marks: add_marker, a target",
        files=added('target="cuda"'),
        steps=(Step(exit_codes=(1,), says=("target",)),),
    ),
    Setup(
        name="late marks: add_marker, the same target with fewer cores",
        files=added('target="llvm -num-cores 1"'),
        steps=(Step(says=("1 passed",)),),
    ),
]
