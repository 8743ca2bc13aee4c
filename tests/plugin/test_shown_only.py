"""Options by which pytest only shows what it found, tests that can have no fixtures, odd paths."""

from __future__ import annotations

import inspect
import textwrap

import pytest

import pytest_tvmtune
from tests.plugin.snippets import MARKED, TINY

# Fails whatever imports tvm.
NO_TVM = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name == "tvm":
            raise RuntimeError("tvm is imported")

sys.meta_path.insert(0, Refused())
"""


@pytest.mark.parametrize(
    "option",
    ["--collect-only", "--fixtures", "--fixtures-per-test", "--setup-plan", "--setup-only"],
)
def test_nothing_is_loaded_to_show_what_there_is(suite: pytest.Pytester, option: str) -> None:
    suite.makeconftest(NO_TVM)
    suite.makepyfile(test_it=MARKED)
    result = suite.runpytest_subprocess(option)
    assert result.ret == 0, result.stdout.str()
    assert not (suite.path / ".tvmtune").exists()


def test_fixtures_shows_all_that_tvm_tune_takes(suite: pytest.Pytester) -> None:
    shown = suite.runpytest_subprocess("--fixtures").stdout.str()
    taken = inspect.signature(pytest_tvmtune.TvmTune.__call__).parameters.values()
    for name in [one.name for one in taken if one.kind is one.KEYWORD_ONLY]:
        assert f"{name}=" in shown.partition("tvm_tune --")[2]


def test_a_fixture_that_compiles_is_skipped_under_setup_only(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.fixture
        def run(tvm_tune): return tvm_tune("no model")
        def test_it(tvm_tune, run): pass
        """
    )
    result = suite.runpytest_subprocess("--setup-only")
    assert result.ret == 0
    result.assert_outcomes(skipped=1)


TEST_CASES = {
    "method": """
        class TestIt(unittest.TestCase):
            @pytest.mark.tvm_tune(trials=0)
            def test_method(self): pass
        """,
    "class": """
        @pytest.mark.tvm_tune(trials=0)
        class TestIt(unittest.TestCase):
            def test_method(self): pass
        """,
}


def test_a_marked_unittest_is_an_error(suite: pytest.Pytester) -> None:
    for name, body in TEST_CASES.items():
        text = f"import pytest, unittest\n{textwrap.dedent(body)}"
        (suite.path / f"test_{name}.py").write_text(text)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=2)
    said = "has the marker tvm_tune, but pytest gives methods of unittest.TestCase no fixtures *"
    result.stdout.fnmatch_lines(
        [f"test_class.py::TestIt {said}", f"test_method.py::TestIt::test_method {said}"]
    )


def test_what_can_be_done_is_said_where_there_are_no_fixtures(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_case="""
        import pytest, unittest
        class TestIt(unittest.TestCase):
            @pytest.mark.usefixtures("tvm_tune")
            def test_method(self): pass
        """,
        in_doc='''
        """
        >>> getfixture("tvm_tune")
        """
        ''',
    )
    result = suite.runpytest_inprocess("--doctest-modules")
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_case.py::TestIt::test_method: a method of unittest.TestCase can't use *",
            "in_doc.py::in_doc: a doctest can't use *: write a test function",
        ]
    )


CHECKED = """
@pytest.mark.tvm_tune(trials=0, max_time=0.1)
def test_(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    run.assert_matches_golden()
    run.check(EXPECTED)
"""


def test_files_outside_the_rootdir(suite: pytest.Pytester) -> None:
    """However they are named: by their folder, by themselves, through a link."""
    for name in ("conf", "tests/inner"):
        (suite.path / name).mkdir(parents=True)
    (suite.path / "conf" / "pytest.ini").write_text("[pytest]\n")
    (suite.path / "tests" / "inner" / "test_odd.py").write_text(TINY + CHECKED)
    (suite.path / "link").symlink_to(suite.path / "tests")
    conf = ("-c", "conf/pytest.ini")
    result = suite.runpytest_subprocess(*conf, "tests", "--tvm-update-new")
    result.assert_outcomes(passed=1)
    # A function called `test_` has its file's name.
    result.stdout.fnmatch_lines(["odd * NEW, accepted"])
    golden = suite.path / "tests" / "inner" / "tvmtune_golden"
    assert [one.suffix for one in golden.iterdir()] == [".npz"]
    for where in ("tests/inner", "tests/inner/test_odd.py", "link/inner"):
        result = suite.runpytest_subprocess(*conf, where, "--tvm-strict")
        result.assert_outcomes(passed=1)


def test_a_rootdir_that_is_a_link(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_odd=TINY + CHECKED)
    link = suite.path.with_name(f"{suite.path.name}_link")
    link.symlink_to(suite.path)
    result = suite.runpytest_subprocess("--tvm-update-new")
    result.assert_outcomes(passed=1)
    result = suite.runpytest_subprocess(f"--rootdir={link}", str(suite.path), "--tvm-strict")
    result.assert_outcomes(passed=1)
