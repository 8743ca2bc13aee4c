"""What names a test's baseline: the user's own parameters, and not those that repeat it."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.plugin.repeating import PLUGINS, install
from tests.plugin.snippets import TINY, WORKER_IDS, WORKERS

# A test of this suite writes down what its baseline would be named by.
SUITE = """
import json
import pytest

@pytest.fixture(autouse=True)
def noted(request):
    yield
    from pytest_tvmtune.plugin.state import ITEM_STATE
    origin = request.node.stash[ITEM_STATE].origin
    with open("noted.jsonl", "a") as file:
        file.write(json.dumps([origin.identity_path, origin.cls, origin.function, origin.params,
                               origin.name]) + "\\n")

@pytest.fixture(params=["small", "large"])
def size(request):
    return request.param

@pytest.fixture
def model(size):
    return size
"""
OWN_CONFTEST = """
import pytest

@pytest.fixture(autouse=True, params=["dark"])
def own_autouse(request):
    return request.param

def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_hooked":
        metafunc.fixturenames.append("added_by_conftest")
        metafunc.parametrize("added_by_conftest", ["c1", "c2"])
"""
TESTS = """
def test_plain(_tvmtune_case): pass

@pytest.mark.parametrize(("a", "b"), [(1, "x"), (2, "y")])
@pytest.mark.parametrize("c", [None], ids=["named"])
def test_marks(_tvmtune_case, a, b, c): pass

def test_through_a_fixture(_tvmtune_case, model): pass

@pytest.mark.usefixtures("size")
def test_used(_tvmtune_case): pass

def test_hooked(_tvmtune_case): pass

def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_by_the_module":
        metafunc.fixturenames.append("added_by_module")
        metafunc.parametrize("added_by_module", ["m1", "m2"])

def test_by_the_module(_tvmtune_case): pass

class TestOuter:
    class TestInner:
        @pytest.mark.parametrize("n", [3])
        def test_it(self, n, _tvmtune_case): pass
"""


def noted(suite: pytest.Pytester, *options: str) -> list[tuple[str, ...]]:
    suite.makepyfile(test_it=SUITE + TESTS)
    (suite.path / "noted.jsonl").unlink(missing_ok=True)
    result = suite.runpytest_subprocess("--tvm-prepack=both", *options)
    assert result.ret == 0, result.stdout.str()
    lines = (suite.path / "noted.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def expected(*more: str) -> set[tuple[str, ...]]:
    """Return what names the baselines of the suite. more: ids that each test has in front."""

    def row(cls: str, function: str, *ids: str) -> tuple[str, ...]:
        name = function.removeprefix("test_")
        return "test_it.py", cls, function, "-".join([*more, *ids]), name

    return {
        row("", "test_plain"),
        *(row("", "test_marks", "named", ids) for ids in ("1-x", "2-y")),
        *(row("", "test_through_a_fixture", size) for size in ("small", "large")),
        *(row("", "test_used", size) for size in ("small", "large")),
        *(row("", "test_by_the_module", added) for added in ("m1", "m2")),
        row("TestOuter.TestInner", "test_it", "3"),
    }


def without_hooked(rows: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {row for row in rows if row[2] != "test_hooked"}


def test_the_names_are_the_same_whatever_repeats_the_tests(suite: pytest.Pytester) -> None:
    suite.makeconftest("")
    alone = noted(suite)
    assert without_hooked(alone) == expected()
    # Plain and prepacked.
    assert set(Counter(alone).values()) == {2}
    install(suite, *PLUGINS)
    repeated = noted(suite)
    assert set(repeated) == set(alone)
    # Each of the three makes two of one.
    assert set(Counter(repeated).values()) == {2 * 2**3}


def test_what_a_conftest_adds_is_the_users(suite: pytest.Pytester) -> None:
    install(suite, *PLUGINS, conftest=OWN_CONFTEST)
    rows = noted(suite)
    params = {row[2]: {one[3] for one in rows if one[2] == row[2]} for row in rows}
    assert params["test_plain"] == {"dark"}
    assert params["test_through_a_fixture"] == {"dark-small", "dark-large"}
    assert params["test_hooked"] == {"dark-c1", "dark-c2"}


def test_a_fixture_of_a_plugin_that_the_test_asks_for_is_the_users_choice(
    suite: pytest.Pytester,
) -> None:
    install(suite, "offers_a_fixture", "like_pytest_repeat")
    suite.makepyfile(test_other=SUITE + "def test_backend(_tvmtune_case, backend): pass\n")
    noted(suite)
    lines = (suite.path / "noted.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert Counter(row[3] for row in rows if row[2] == "test_backend") == {"asyncio": 4, "trio": 4}


def test_two_tests_with_one_id_do_not_share_a_baseline(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("a", ["x-y", "x", "z"])
        @pytest.mark.parametrize("b", ["y-w", "w"])
        def test_it(_tvmtune_case, a, b): pass
        def make(number):
            class Test:
                def test_method(self, _tvmtune_case): pass
            return Test
        TestOne, TestTwo = make(1), make(2)
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=6 + 2)
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("b", ["y-w", "w"])
        @pytest.mark.parametrize("a", ["x-y", "x"])
        def test_it(_tvmtune_case, a, b): pass
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=2)
    said = (
        "two tests have the id '*test_it[[]x-y-w-llvm]', so they would share a baseline: the first "
        "test has the parameter ids 'x-y' and 'w', the second test 'x' and 'y-w'; give them ids *"
    )
    result.stdout.fnmatch_lines([said])


@pytest.mark.parametrize("workers", WORKERS, ids=WORKER_IDS)
def test_repetitions_gate_against_one_baseline(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    install(suite, "like_pytest_repeat")
    suite.makepyfile(
        TINY
        + """
@pytest.mark.tvm_tune(trials=0, max_time=0.1)
def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
    )
    result = suite.runpytest_subprocess(*workers, "--tvm-update-new")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 cases, 0 failed: *, accepted 1 baseline"])
    assert len(list((suite.path / ".tvmtune" / "baselines").glob("*.json"))) == 1
    result = suite.runpytest_subprocess(*workers, "--tvm-strict")
    result.assert_outcomes(passed=2)
    # And the test alone, without the plugin.
    suite.makeconftest("")
    result = suite.runpytest_subprocess("--tvm-strict")
    result.assert_outcomes(passed=1)


def test_parameters_of_a_plugin_that_make_another_model_are_warned_of(
    suite: pytest.Pytester,
) -> None:
    install(suite, "by_an_autouse_fixture")
    suite.makepyfile(
        TINY
        + """
class Twice(Tiny):
    def forward(self, x):
        return self.fc(self.fc(x))

@pytest.mark.tvm_tune(trials=0, max_time=0.1)
def test_tiny(tvm_tune, request):
    once = request.getfixturevalue("again") == "once"
    tvm_tune(Tiny() if once else Twice(), **GIVEN).assert_no_regression()

@pytest.mark.tvm_tune(trials=0, max_time=0.1)
def test_asks_for_it(tvm_tune, again):
    tvm_tune(Tiny() if again == "once" else Twice(), **GIVEN).assert_no_regression()
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=4, warnings=1)
    said = "*'test_*::test_tiny?once-llvm?' has the same baseline and another model, because *"
    result.stdout.fnmatch_lines([said])
