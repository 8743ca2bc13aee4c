"""Suites whose tests fake time, block sockets, or start threads: ours goes on as ever."""

from __future__ import annotations

import json
import time

import pytest

from tests.plugin.snippets import TINY

# As freezegun and pytest-socket do it: in every module that holds one of these functions.
FAKED = """
import socket, sys, threading, time

class GuardedSocket(socket.socket):
    def __new__(cls, *_, **__):
        raise RuntimeError("A test tried to use socket.socket.")

@pytest.fixture(autouse=True)
def faked(monkeypatch):
    monkeypatch.setattr(socket, "socket", GuardedSocket)
    gmtime, strftime = time.gmtime, time.strftime
    fakes = {name: lambda: 1_580_000_000.0 for name in ("time", "monotonic", "perf_counter")}
    fakes["gmtime"] = lambda at=1_580_000_000: gmtime(at)
    for name, fake in fakes.items():
        real = getattr(time, name)
        for module in list(sys.modules.values()):
            held = getattr(module, "__dict__", {})
            for key in [key for key, value in held.items() if value is real]:
                if module is not threading:
                    monkeypatch.setattr(module, key, fake)

@pytest.mark.tvm_tune(trials=2, prepack="on")
def test_tiny(tvm_tune):
    with pytest.raises(RuntimeError):
        socket.socketpair()
    assert time.time() == time.monotonic() == 1_580_000_000
    tvm_tune(Tiny(), **GIVEN).check(EXPECTED)

@pytest.mark.tvm_tune(trials=0)
def test_threads(tvm_tune):
    runs = {}
    def start(name):
        runs[name] = tvm_tune(Tiny(), **GIVEN, name=name)
        runs[name].check(EXPECTED)
    threads = [threading.Thread(target=start, args=(f"in_thread_{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 3
    assert all(run.result.latency is not None and not run.result.findings for run in runs.values())
"""


@pytest.mark.timeout(300)
def test_faked_time_blocked_sockets_and_threads(suite: pytest.Pytester) -> None:
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    suite.makepyfile(TINY + FAKED)
    result = suite.runpytest_subprocess(
        "--tvm-json=report.json", "--tvm-update-new", "-p", "no:benchmark"
    )
    result.assert_outcomes(passed=2)
    report = json.loads((suite.path / "report.json").read_text())
    (tiny,) = [case for case in report["cases"] if case["name"] == "tiny"]
    assert tiny["tuning_s"] > 0.1
    assert tiny["transform_s"] > 0
    baselines = list((suite.path / ".tvmtune" / "baselines").rglob("*.json"))
    assert len(baselines) == 4
    for path in baselines:
        assert json.loads(path.read_text())["accepted_at"] >= began


def test_threads_do_not_take_one_name(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        TINY
        + """
from concurrent.futures import ThreadPoolExecutor

@pytest.mark.tvm_tune(trials=0)
def test_unnamed(tvm_tune):
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(tvm_tune, Tiny(), **GIVEN) for _ in range(2)]
    errors = [str(one.exception()) for one in started if one.exception()]
    assert len(errors) == 1
    assert "needs another name" in errors[0]
"""
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)
