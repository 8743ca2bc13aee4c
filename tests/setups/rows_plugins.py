"""Set-ups with plugins that change how tests are found, ordered and run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.setups.harness import Setup, Step
from tests.setups.plugin_suites import (
    ASYNC,
    ASYNC_UNCHECKED,
    FAKED_FILES,
    FROZEN,
    GIVEN,
    LAZY,
    MOCKED,
    ORDERED,
    PARAMETRIZATION,
    SLEEPY,
    SOFT,
    SUBTESTS,
    THREADS,
    TRAVELLED,
)
from tests.setups.suites import MODEL, ONE, TWO, WRONG

FILES = {"test_one.py": ONE}
PAIR = {"test_two.py": TWO}


def _python_suite(text: str) -> dict[str, str]:
    return {"test_one.py": MODEL + text}


def _repository(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


PLUGINS = [
    *(
        Setup(
            name=f"pytest-xdist, {arguments}",
            files=PAIR,
            steps=(
                Step(
                    arguments=f"{arguments} --tvm-update-new",
                    says=("2 passed",),
                    cases=2,
                    baselines=2,
                ),
            ),
        )
        for arguments in ("-n 2", "-n 2 --dist=loadgroup", "-n 2 --dist=loadscope")
    ),
    Setup(
        name="pytest-xdist, -n 2 --dist=worksteal --maxprocesses=1",
        files=PAIR,
        steps=(
            Step(
                arguments="-n 2 --dist=worksteal --maxprocesses=1",
                says=("2 passed",),
                cases=2,
                failed=0,
            ),
        ),
    ),
    Setup(
        name="pytest-xdist, -n 2, loadgroup against a baseline",
        files={"test_one.py": ONE.replace("@pytest", "@pytest.mark.xdist_group('a')\n@pytest")},
        steps=(
            Step(arguments="--tvm-update-new", baselines=1),
            Step(
                arguments="-n 2 --dist=loadgroup --tvm-update-new",
                says=("1 passed",),
                silent=(r"\bNEW\b",),
                baselines=1,
            ),
        ),
    ),
    Setup(
        name="pytest-randomly",
        files=PAIR,
        plugins=("pytest-randomly",),
        steps=(
            Step(arguments="--tvm-update-new", baselines=2),
            Step(arguments="-p randomly -p no:cacheprovider", silent=(r"\bNEW\b",), cases=2),
        ),
    ),
    Setup(
        name="pytest-order",
        files=_python_suite(ORDERED),
        plugins=("pytest-order",),
        steps=(Step(arguments="-v", says=(r"(?s)test_first.*test_last",), cases=3, failed=0),),
    ),
    Setup(
        name="pytest-asyncio",
        files=_python_suite(ASYNC),
        plugins=("pytest-asyncio",),
        steps=(Step(arguments="--tvm-update-new", says=("1 passed",), cases=1, baselines=1),),
    ),
    Setup(
        name="pytest-asyncio, nothing checked under strict",
        files=_python_suite(ASYNC_UNCHECKED),
        plugins=("pytest-asyncio",),
        steps=(
            Step(
                arguments="--tvm-strict",
                exit_codes=(1,),
                says=("nothing was checked",),
                cases=1,
                failed=1,
            ),
        ),
    ),
    *(
        Setup(
            name=f"pytest-timeout, {method}",
            files={**_python_suite(SLEEPY), "test_two.py": ONE},
            steps=(
                Step(
                    arguments=f"--timeout=20 --timeout-method={method} test_one.py",
                    exit_codes=(1,),
                    says=("Timeout",),
                    # The thread's method ends the process and shows every stack.
                    failed=1 if method == "signal" else None,
                ),
                Step(arguments="test_two.py", says=("1 passed",)),
            ),
        )
        for method in ("signal", "thread")
    ),
    Setup(
        name="pytest-mock",
        files=_python_suite(MOCKED),
        plugins=("pytest-mock",),
        steps=(Step(says=("1 passed",), cases=1, failed=0),),
    ),
    Setup(
        name="subtests, one fails",
        files=_python_suite(SUBTESTS),
        steps=(
            Step(
                arguments="--tvm-update-new",
                exit_codes=(1,),
                says=("wrong numbers|WRONG NUMBERS|differ",),
                cases=1,
                failed=1,
                baselines=0,
            ),
        ),
    ),
    Setup(
        name="pytest-split",
        files=PAIR,
        plugins=("pytest-split",),
        steps=(
            Step(arguments="--splits=2 --group=1", says=("1 passed",), cases=1),
            Step(arguments="--splits=2 --group=2", says=("1 passed",), cases=1),
        ),
    ),
    Setup(
        name="pytest-picked",
        files=FILES,
        plugins=("pytest-picked",),
        prepare=_repository,
        steps=(Step(arguments="--picked", says=("1 passed",), cases=1, failed=0),),
    ),
    Setup(
        name="hypothesis, @given around tvm_tune",
        files=_python_suite(GIVEN),
        plugins=("hypothesis",),
        steps=(Step(says=("1 passed",), cases=3, failed=0),),
    ),
    Setup(
        name="hypothesis, wrong numbers",
        files=_python_suite(GIVEN.replace("check(EXPECTED)", "check(EXPECTED + 1)")),
        plugins=("hypothesis",),
        steps=(
            Step(
                exit_codes=(1,),
                says=("wrong|differ",),
                # It runs the example again to shrink it: that is no second model.
                silent=("has a case named", "Flaky"),
            ),
        ),
    ),
    Setup(
        name="pytest-lazy-fixtures",
        files=_python_suite(LAZY),
        plugins=("pytest-lazy-fixtures",),
        steps=(Step(says=("1 passed",), cases=1, failed=0),),
    ),
    Setup(
        name="pytest-parametrization",
        files=_python_suite(PARAMETRIZATION),
        plugins=("pytest-parametrization",),
        steps=(Step(says=("1 passed",), cases=1, failed=0),),
    ),
    Setup(
        name="pytest-check, a soft failure",
        files=_python_suite(SOFT),
        plugins=("pytest-check",),
        steps=(
            Step(
                arguments="--tvm-update-new",
                exit_codes=(1,),
                says=("1 failed",),
                cases=1,
                failed=1,
                baselines=0,
            ),
        ),
    ),
    Setup(
        name="pytest-socket, --disable-socket",
        files=FILES,
        plugins=("pytest-socket",),
        cold=True,
        steps=(Step(arguments="--disable-socket", says=("1 passed",), silent=("SocketBlocked",)),),
    ),
    *(
        Setup(
            name=plugin,
            files=_python_suite(text),
            plugins=(plugin,),
            cold=True,
            steps=(
                Step(
                    arguments="--tvm-update-new",
                    says=("1 passed",),
                    report_silent=("2020-",),
                    baselines=1,
                ),
                Step(says=("1 passed",), report_silent=("2020-",)),
            ),
        )
        for plugin, text in (("pytest-freezer", FROZEN), ("time-machine", TRAVELLED))
    ),
    Setup(
        name="two threads in one test",
        files=_python_suite(THREADS),
        cold=True,
        steps=(Step(exit_codes=(0, 1), silent=("RuntimeError",)),),
    ),
    Setup(
        name="pytest-run-parallel",
        files=FILES,
        plugins=("pytest-run-parallel",),
        steps=(
            Step(arguments="--parallel-threads=2", exit_codes=(0, 1), silent=("RuntimeError",)),
        ),
    ),
    Setup(
        name="pytest-antilru",
        files={"test_one.py": TWO},
        plugins=("pytest-antilru",),
        steps=(Step(says=("2 passed",), cases=2, failed=0),),
    ),
    Setup(
        name="pyfakefs",
        files=_python_suite(FAKED_FILES),
        plugins=("pyfakefs",),
        steps=(Step(exit_codes=(0, 1), says=("1 (passed|failed)",)),),
    ),
    Setup(
        name="typeguard on the plugin",
        files=FILES,
        plugins=("typeguard",),
        steps=(Step(arguments="--typeguard-packages=pytest_tvmtune", says=("1 passed",)),),
    ),
    Setup(
        name="pytest-cov, wrong numbers",
        files={"test_one.py": WRONG},
        plugins=("pytest-cov",),
        steps=(
            Step(
                arguments="--cov=. --cov-report=term",
                exit_codes=(1,),
                says=("1 failed", "TOTAL"),
                failed=1,
            ),
        ),
    ),
]
