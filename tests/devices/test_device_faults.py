"""Devices that are missing, taken, stopped, or killed at random moments: real ones, on loopback.

TVMTUNE_KILLS kills of each (default 1; `python benchmarks/faults.py` takes many). After each: the
device is free, no process is left, the store is sound, and the next run goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tvm

from pytest_tvmtune.core.errors import ChildError, DeviceError
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.relax.devices.lost_device import is_lost
from pytest_tvmtune.relax.devices.remote_machine import RemoteMachine
from pytest_tvmtune.relax.devices.rpc_connection import connect
from pytest_tvmtune.stages.compiling import load
from pytest_tvmtune.stages.devices import known_devices
from pytest_tvmtune.stages.latency.paired_measurement import measure
from pytest_tvmtune.stages.tuned_build import load_and_call
from pytest_tvmtune.store.inventory import problems
from pytest_tvmtune.store.layout import Store
from tests.support import IMPORTABLE, REAL_PYTHON
from tests.support.cases import build_of, opener
from tests.support.modules import OpenCase, TwoLayers
from tests.support.rpc_servers import RpcProcess, rpc_server, rpc_tracker

KILLS = int(os.environ.get("TVMTUNE_KILLS", "1"))
RNG = np.random.default_rng(3)
X, V, W = (
    RNG.standard_normal(shape).astype("float32") / 6 for shape in ((4, 48), (48, 48), (48, 48))
)
GIVEN: dict[str, Any] = {"params": [V, W], "inputs": [X]}
SOON_S = 20.0
SUITE = """
import numpy as np
import pytest
from tests.support.modules import TwoLayers

@pytest.mark.tvm_tune(trials=4)
def test_it(tvm_tune):
    params = [np.ones((48, 48), "float32") / 48] * 2
    tvm_tune(TwoLayers, params=params, inputs=[np.ones((4, 48), "float32")]).check()
"""


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    """Ask each device what it is again: servers come and go here."""
    known_devices._device.cache_clear()


@pytest.fixture
def tracker() -> Iterator[RpcProcess]:
    with rpc_tracker() as started:
        yield started


@pytest.fixture
def server(tracker: RpcProcess) -> Iterator[RpcProcess]:
    with rpc_server(key="it", tracker=tracker) as started:
        yield started


@pytest.fixture
def address(tracker: RpcProcess, server: RpcProcess) -> RpcAddress:
    """Return the address of one device, behind a tracker."""
    return address_at(tracker)


@pytest.fixture
def on_device(store: Store, address: RpcAddress) -> OpenCase:
    def opened(mod: Any, *, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        given = {"rpc": str(address), "timeout": "20s", **(settings or {})}
        return opener(store)(mod, settings=given, **more)

    return opened


def address_at(tracker: RpcProcess, key: str = "it") -> RpcAddress:
    return RpcAddress(host=tracker.host, port=tracker.port, key=key)


def is_free(address: RpcAddress, within_s: float = SOON_S) -> bool:
    """Whether the device can be had."""
    session = connect(address, wait_s=within_s, session_s=5.0)
    session.get_function("CloseRPCConnection")()
    return True


def sessions(server: RpcProcess) -> list[psutil.Process]:
    """Return the processes of a server's sessions."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(server.process.pid).children(recursive=True)
    return []


@contextlib.contextmanager
def at_random_moments(
    act: Callable[[psutil.Process], None], server: RpcProcess, times: int = KILLS
) -> Iterator[list[int]]:
    """Do something to some sessions of a server, each a random while after it began."""
    over, seen = threading.Event(), list[int]()
    moments = random.Random(7)

    def run() -> None:
        while not over.is_set() and len(seen) < times:
            for session in sessions(server):
                if session.pid not in seen and len(seen) < times:
                    over.wait(moments.uniform(0, 0.3))
                    with contextlib.suppress(psutil.NoSuchProcess):
                        act(session)
                        seen.append(session.pid)
            time.sleep(0.002)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_nobody_answers(store: Store, tracker: RpcProcess, server: RpcProcess) -> None:
    """Each is said for what it is, within the time that a test may wait."""
    nobody = RpcAddress(host="127.0.0.1", port=1)
    for address, words in (
        (nobody, "no TVM RPC server answers"),
        (RpcAddress(host="127.0.0.1", port=1, key="it"), "no tracker answers"),
        (RpcAddress(host="host.invalid", port=9190, key="it"), "unknown host"),
        (address_at(tracker, "that"), r"no device with the key 'that'; it has it \(1\)"),
        (RpcAddress(host=tracker.host, port=tracker.port), "no TVM RPC server answers"),
        (RpcAddress(host=server.host, port=server.port, key="it"), "no tracker answers"),
        (server.address, "the server has a key"),
    ):
        settings = {"rpc": str(address), "timeout": "1s"}
        with pytest.raises(DeviceError, match=words):
            opener(store)(TwoLayers, settings=settings, **GIVEN)


def test_a_device_that_another_uses_is_waited_for(on_device: OpenCase, address: RpcAddress) -> None:
    held = connect(address, wait_s=SOON_S, session_s=60.0)
    with pytest.raises(DeviceError, match="the only device stayed in use"):
        on_device(TwoLayers, settings={"timeout": "1s"}, **GIVEN)
    timer = threading.Timer(1.0, held.get_function("CloseRPCConnection"))
    timer.start()
    case = on_device(TwoLayers, **GIVEN)
    timer.join()
    assert load_and_call(case, build_of(case))[1].shape == (4, 48)


def test_a_tracker_that_is_started_again_is_found_again(store: Store) -> None:
    with rpc_tracker() as first:
        port = first.port
        with rpc_server(key="it", tracker=first) as server:
            address = address_at(first)
            case = opener(store)(TwoLayers, settings={"rpc": str(address)}, **GIVEN)
            built = build_of(case)
            first.kill()
            with ThreadPoolExecutor(1) as caller:
                called = caller.submit(lambda: load(case, built).outputs())
                time.sleep(1.0)
                # From this thread: what one starts ends with it.
                with rpc_tracker(port):
                    assert called.result().shape == (4, 48)
            assert server.process.poll() is None


def test_a_session_that_hangs_is_ended(
    on_device: OpenCase, server: RpcProcess, address: RpcAddress
) -> None:
    case = on_device(TwoLayers, settings={"timeout": "3s"}, **GIVEN)
    built = build_of(case)
    stopped: list[int] = []

    def stop(session: psutil.Process) -> None:
        session.suspend()
        stopped.append(session.pid)

    # One that is over by then goes on: more than one may have to be stopped.
    with at_random_moments(stop, server, times=1000):
        message = first_error(lambda: load(case, built))
    # By the job that it held up, or by the next one, which found the device in use.
    assert "no answer within 3 s" in message or "stayed in use" in message
    # What ends a session that hangs is its own time-out at the server, or whoever sees to that.
    for pid in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    assert is_free(address)


def test_servers_whose_sessions_are_killed_cost_nothing(
    on_device: OpenCase, server: RpcProcess, address: RpcAddress, store: Store
) -> None:
    """The model is called, tuned and measured, whatever session dies, and nothing is blamed."""

    def use_all() -> None:
        case = retried(lambda: on_device(TwoLayers, settings={"trials": 8}, **GIVEN))
        built = retried(lambda: build_of(case))
        retried(lambda: load_and_call(case, built))
        sides = built.artifact, built.artifact
        retried(lambda: measure(case, *sides, alpha=0.1, expected_s=1e-5, max_time_s=0.2))

    with at_random_moments(psutil.Process.kill, server) as killed:
        while len(killed) < KILLS:
            use_all()
    assert len(killed) == KILLS
    assert is_free(address)
    assert not list(problems(store))
    assert not any("server ended" in path.read_text() for path in store.tuning.rglob("*.jsonl"))


def first_error(act: Callable[[], Any]) -> str:
    """Do something until it fails; return how."""
    while True:
        try:
            act()
        except (ChildError, DeviceError) as error:
            return str(error)


def retried(act: Callable[[], Any]) -> Any:
    """Return what something returns, once its device isn't lost twice in a row."""
    for _ in range(3 * KILLS + 3):
        try:
            return act()
        except DeviceError:
            continue
        except ChildError as error:
            if error.cause != "lost device":
                raise
    raise AssertionError("it was never done")


def test_who_is_killed_holds_no_device(
    address: RpcAddress, server: RpcProcess, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    command = [
        REAL_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.",
        f"--tvm-rpc={address}", "test_it.py",
    ]  # fmt: skip
    moments = random.Random(5)
    environment = {**os.environ, "PYTHONPATH": str(IMPORTABLE)}
    for how in [signal.SIGKILL] * KILLS + [signal.SIGINT] * (KILLS - 1):
        run = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while run.poll() is None and not sessions(server):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 3))
        family = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
        run.send_signal(how)
        run.wait(60)
        assert is_free(address), how
        _, alive = psutil.wait_procs(family, timeout=SOON_S)
        assert not alive, how
    store = Store(root=tmp_path / ".tvmtune")
    assert not list(problems(store))
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "use",
    [
        lambda machine, tensor: tensor.numpy(),
        lambda machine, tensor: tensor.copyfrom(np.zeros(4, "float32")),
        lambda machine, tensor: tvm.runtime.empty((4,), "float32", machine.device),
        lambda machine, tensor: machine.device.sync(),
        lambda machine, tensor: machine.num_threads_used(),
        lambda machine, tensor: machine.helper["uname"](),
        lambda machine, tensor: machine.load_copy(Path(__file__), Path()),
    ],
)
def test_each_call_of_a_session_that_was_killed_says_so(
    on_device: OpenCase, server: RpcProcess, address: RpcAddress, use: Callable[[Any, Any], Any]
) -> None:
    case = on_device(TwoLayers, **GIVEN)
    assert case.remote is not None
    machine = RemoteMachine(connect(address, wait_s=SOON_S, session_s=60), case.remote.helper)
    tensor = tvm.runtime.tensor(np.ones(4, "float32"), machine.device)
    for session in sessions(server):
        session.kill()
    for _ in range(2):  # TVM has other words for the second
        with pytest.raises(Exception) as caught:
            use(machine, tensor)
        assert is_lost(caught.value)
