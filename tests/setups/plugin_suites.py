"""Tests that use what a plugin offers; each follows `suites.MODEL`."""

from __future__ import annotations

ASYNC = """

@pytest.mark.asyncio
@pytest.mark.tvm_tune(trials=0)
async def test_tiny(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""

# Nothing is checked, which fails under strict: the rule at a test's end holds for coroutines, too.
ASYNC_UNCHECKED = ASYNC.replace(".check(EXPECTED)", "")

SLEEPY = """
import time

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    time.sleep(300)
"""

GIVEN = """
from hypothesis import HealthCheck, given, settings, strategies

@pytest.mark.tvm_tune(trials=0)
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=strategies.sampled_from([1, 2, 3]))
def test_tiny(tvm_tune, number):
    tvm_tune(Tiny(), **GIVEN, name=f"tiny-{number}").check(EXPECTED)
"""

MOCKED = """

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, mocker):
    mocker.patch("os.getcwd", return_value="/nowhere")
    mocker.patch("time.time", return_value=0.0)
    mocker.patch.dict("os.environ", {"TVM_NUM_THREADS": "7"})
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""

SUBTESTS = """

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, subtests):
    run = tvm_tune(Tiny(), **GIVEN)
    with subtests.test("right"):
        run.assert_allclose(EXPECTED)
    with subtests.test("wrong"):
        run.assert_allclose(EXPECTED + 1)
    run.assert_no_regression()
"""

LAZY = """
from pytest_lazy_fixtures import lf

@pytest.fixture
def expected():
    return EXPECTED

@pytest.mark.tvm_tune(trials=0)
@pytest.mark.parametrize("wanted", [lf("expected")])
def test_tiny(tvm_tune, wanted):
    tvm_tune(Tiny(), **GIVEN).check(wanted)
"""

PARAMETRIZATION = """
from parametrization import Parametrization

@Parametrization.autodetect_parameters()
@Parametrization.case(name="plain", wanted=EXPECTED)
@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, wanted):
    tvm_tune(Tiny(), **GIVEN).check(wanted)
"""

SOFT = """
from pytest_check import check

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    run = tvm_tune(Tiny(), **GIVEN)
    with check:
        assert run.outputs is None
    run.assert_no_regression()
"""

ORDERED = """

@pytest.mark.order(2)
@pytest.mark.tvm_tune(trials=0)
def test_last(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

@pytest.mark.order(1)
@pytest.mark.tvm_tune(trials=0, prepack="both")
def test_first(tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""

THREADS = """
import threading

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune):
    errors = []
    def work(name):
        try:
            tvm_tune(Tiny(), **GIVEN, name=name).check(EXPECTED)
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=work, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
"""

FROZEN = """
import datetime

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, freezer):
    freezer.move_to("2020-01-01")
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
    assert datetime.date.today().year == 2020
"""

TRAVELLED = """
import datetime

@pytest.mark.tvm_tune(trials=0)
def test_tiny(tvm_tune, time_machine):
    time_machine.move_to(datetime.datetime(2020, 1, 1), tick=False)
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
    assert datetime.date.today().year == 2020
"""

FAKED_FILES = """

@pytest.mark.tvm_tune(trials=0)
def test_tiny(fs, tvm_tune):
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)
"""
