"""Set-ups with plugins and options that change what is reported, and where."""

from __future__ import annotations

from tests.setups.harness import Setup, Step
from tests.setups.suites import FLAKY, MODEL, ONE, TWO, WRONG

FILES = {"test_one.py": ONE}
NO_COMPILER = {"CXX": "/nonexistent", "PATH": "/nonexistent"}

REPORTERS = [
    Setup(
        name="pytest-html",
        files={"test_one.py": WRONG},
        plugins=("pytest-html",),
        steps=(Step(arguments="--html=page.html", exit_codes=(1,), says=("page.html",), failed=1),),
    ),
    Setup(
        name="pytest-json-report",
        files=FILES,
        plugins=("pytest-json-report",),
        steps=(Step(arguments="--json-report", says=("1 passed", "report saved"), cases=1),),
    ),
    Setup(
        name="pytest-json-report under xdist",
        files=FILES,
        plugins=("pytest-json-report",),
        steps=(Step(arguments="--json-report -n 2", says=("1 passed",), cases=1),),
    ),
    Setup(
        name="allure-pytest",
        files={"test_one.py": WRONG},
        plugins=("allure-pytest",),
        steps=(Step(arguments="--alluredir=allure", exit_codes=(1,), failed=1),),
    ),
    Setup(
        name="pytest-sugar",
        files=FILES,
        plugins=("pytest-sugar",),
        steps=(Step(arguments="--force-sugar", says=("1 passed", "tvmtune"), cases=1),),
    ),
    Setup(
        name="pytest-instafail",
        files={"test_one.py": WRONG},
        plugins=("pytest-instafail",),
        steps=(Step(arguments="--instafail", exit_codes=(1,), says=("1 failed",), failed=1),),
    ),
    Setup(
        name="JUnit and --reruns",
        files={"test_one.py": FLAKY},
        plugins=("pytest-rerunfailures",),
        steps=(Step(arguments="--reruns=1 --junitxml=junit.xml", cases=1, failed=0),),
    ),
    *(
        Setup(
            name=f"pytest-benchmark, {option}",
            files={"test_one.py": ONE + "\n\ndef test_plain():\n    pass\n"},
            steps=(Step(arguments=option, says=(said,), cases=1, failed=0),),
        )
        for option, said in (
            ("--benchmark-only", "1 passed, 1 skipped"),
            ("--benchmark-disable", "2 passed"),
            ("--benchmark-autosave", "2 passed"),
        )
    ),
    Setup(
        name="pytest-benchmark, --benchmark-skip",
        files=FILES,
        steps=(Step(arguments="--benchmark-skip", says=("1 skipped",)),),
    ),
    Setup(
        name="-p no:benchmark",
        files=FILES,
        steps=(Step(arguments="-p no:benchmark", says=("1 passed",), cases=1),),
    ),
    Setup(
        name="-p no:cacheprovider",
        files=FILES,
        steps=(Step(arguments="-p no:cacheprovider", says=("1 passed",), cases=1),),
    ),
    Setup(
        name="-p no:terminal",
        files={"test_one.py": WRONG},
        steps=(Step(arguments="-p no:terminal", exit_codes=(1,), cases=1, failed=1),),
    ),
    Setup(
        name="-p no:capture -p no:logging -p no:warnings",
        files=FILES,
        steps=(
            Step(
                arguments="-p no:capture -p no:logging -p no:warnings",
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
    Setup(
        name="-p no:junitxml -p no:tmpdir -p no:doctest -p no:unittest",
        files=FILES,
        steps=(
            Step(
                arguments="-p no:junitxml -p no:tmpdir -p no:doctest -p no:unittest",
                says=("1 passed",),
                cases=1,
            ),
        ),
    ),
    *(
        Setup(
            name=f"pytest {option}",
            files=FILES,
            cold=True,
            steps=(Step(arguments=option, says=("1 passed",), cases=1),),
        )
        for option in ("-s", "--capture=tee-sys", "--capture=sys")
    ),
    Setup(
        name="pytest -x --maxfail, -q -q, --tb=no",
        files={"test_one.py": WRONG.replace("test_tiny", "test_first") + TWO.partition(MODEL)[2]},
        steps=(
            Step(arguments="-x -q -q --tb=no", exit_codes=(1,), cases=1, failed=1),
            Step(arguments="--lf", exit_codes=(1,), cases=1, failed=1),
            Step(arguments="--sw", exit_codes=(2,), failed=1),
        ),
    ),
    Setup(
        name="pytest --fixtures without a compiler",
        files=FILES,
        cold=True,
        steps=(
            Step(
                arguments="--fixtures",
                environment=NO_COMPILER,
                says=("tvm_tune",),
                silent=("compiler",),
            ),
            Step(
                arguments="--fixtures-per-test",
                environment=NO_COMPILER,
                silent=("compiler",),
            ),
        ),
    ),
    Setup(
        name="pytest --setup-plan, --collect-only without a compiler",
        files=FILES,
        cold=True,
        steps=(
            Step(
                arguments="--setup-plan",
                environment=NO_COMPILER,
                silent=("compiler",),
            ),
            Step(
                arguments="--collect-only",
                environment=NO_COMPILER,
                says=("1 test collected",),
            ),
        ),
    ),
    Setup(
        name="no compiler",
        files=FILES,
        cold=True,
        steps=(
            Step(
                environment=NO_COMPILER,
                exit_codes=(4,),
                says=("no C\\+\\+ compiler",),
            ),
            Step(environment={"PATH": "/nonexistent"}, exit_codes=(4,), says=("install g\\+\\+",)),
        ),
    ),
]
