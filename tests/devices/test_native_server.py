"""Sessions with a device that has no Python."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.devices.native_server import (
    HOST,
    Platform,
    build_native_server,
    emulated_aarch64,
    native_server,
    this_platform,
)
from tests.support import REAL_PYTHON, ROOT
from tests.support.modules import TwoLayers

KEY = "native"
AARCH64 = ROOT / ".devices" / "aarch64" / "site"  # aarch64 wheels of TVM, unpacked
TARGETS: dict[str, dict[str, Any]] = {
    "x86_64": {"kind": "llvm"},
    "aarch64": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"},
}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return build_native_server(tmp_path_factory.mktemp("native_server"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_runs_and_is_timed(name: str, tmp_path: Path) -> None:
    import tvm
    from tvm import relax, rpc

    platform = _platform(name)
    library = _compile(TwoLayers, TARGETS[name], platform.compiler, tmp_path / "model.so")
    rng = np.random.default_rng(0)
    x, v, w = (
        rng.standard_normal(shape).astype("float32") for shape in ((4, 48), (48, 48), (48, 48))
    )
    started = build_native_server(tmp_path, platform)
    with native_server(started, tmp_path, key=KEY) as (host, port):
        remote = rpc.connect(host, port, key=KEY)
        # By its path, TVM would leave the file open.
        remote.upload(bytearray(library.read_bytes()), "model.so")
        assert remote.download("model.so") == library.read_bytes()
        device = remote.cpu()
        vm = relax.VirtualMachine(remote.load_module("model.so"), device)
        arguments = [tvm.runtime.tensor(array, device) for array in (x, v, w)]
        vm.set_input("main", *arguments)
        vm.invoke_stateful("main")
        output = vm.get_outputs("main").numpy()
        vm.save_function("main", "timed", *arguments, include_return=False)
        times_s = vm.module.time_evaluator("timed", device, number=2, repeat=3)().results
    np.testing.assert_allclose(output, np.maximum(np.maximum(x @ v, 0) @ w, 0), rtol=1e-4)
    assert len(times_s) == 3
    assert min(times_s) > 0


def test_sessions_follow_each_other(command: tuple[str, ...], tmp_path: Path) -> None:
    from tvm import rpc

    folders = []
    with native_server(command, tmp_path, key=KEY) as (host, port):
        for _ in range(2):
            remote = rpc.connect(host, port, key=KEY)
            folders.append(remote.get_function("tvm.rpc.server.workpath")(""))
            del remote
    assert folders[0] != folders[1]
    assert not Path(folders[0]).exists()


def test_a_session_times_out(command: tuple[str, ...], tmp_path: Path) -> None:
    from tvm import rpc

    with native_server(command, tmp_path, key=KEY) as (host, port):
        remote = rpc.connect(host, port, key=KEY, session_timeout=1)
        num_threads = remote.get_function("runtime.NumThreads")
        assert num_threads() > 0
        time.sleep(1.5)
        with pytest.raises(RuntimeError):
            num_threads()
        rpc.connect(host, port, key=KEY)


def test_another_key_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    from tvm import rpc

    with native_server(command, tmp_path, key=KEY) as (host, port):
        with pytest.raises(RuntimeError, match="cannot find server that matches"):
            rpc.connect(host, port, key="another")
        rpc.connect(host, port, key=KEY)


def test_a_tracker_knows_it(command: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("tornado")
    from tvm import rpc
    from tvm.rpc.tracker import Tracker

    tracker = Tracker(HOST, port=9190, port_end=9290, silent=True)
    try:
        with native_server(command, tmp_path, key=KEY, tracker_port=tracker.port):
            session = rpc.connect_tracker(HOST, tracker.port)
            for _ in range(2):
                remote = session.request(KEY, session_timeout=60)
                assert remote.get_function("runtime.NumThreads")() > 0
                del remote
    finally:
        tracker.terminate()


def test_it_ends_with_the_process_that_started_it(command: tuple[str, ...], tmp_path: Path) -> None:
    from tvm import rpc

    code = f"""
import pathlib, time
from tests.devices.native_server import native_server
with native_server({command}, pathlib.Path({str(tmp_path)!r}), key={KEY!r}) as address:
    print(address[1], flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([REAL_PYTHON, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        remote = rpc.connect(HOST, int(starter.stdout.readline()), key=KEY)
        server_and_session = psutil.Process(starter.pid).children(recursive=True)
        starter.send_signal(signal.SIGKILL)
    del remote
    assert len(server_and_session) == 2
    _, alive = psutil.wait_procs(server_and_session, timeout=10)
    assert alive == []


def _platform(name: str) -> Platform:
    """Return it, or skip the test where this machine lacks it."""
    if name == "x86_64":
        return this_platform()
    if not AARCH64.is_dir():
        pytest.skip("no emulated device: make .devices/aarch64/.installed makes it")
    platform = emulated_aarch64(AARCH64)
    for tool in (platform.compiler, platform.launcher[0]):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    return platform


def _compile(mod: Any, target: dict[str, Any], compiler: str, library: Path) -> Path:
    import tvm
    from tvm import relax
    from tvm.support.cc import cross_compiler

    target = tvm.target.Target({**target, "num-cores": 1})
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=target, work_dir=str(library.parent)
    )
    built = tvm.compile(pipeline(mod), target)
    built.export_library(str(library), fcompile=cross_compiler(compiler))
    return library
