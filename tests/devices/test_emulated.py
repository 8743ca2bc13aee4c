"""The emulated device: it computes, and it ends with the tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.devices.emulated import CROSS_COMPILER, emulated_server
from tests.support import ROOT

pytestmark = pytest.mark.emulated

TARGET = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}
WAITS = """
import sys, time
from pathlib import Path
from tests.devices.emulated import emulated_server

with emulated_server(Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    time.sleep(600)
"""


def export_mlp(library: Path, work_dir: Path) -> None:
    """Compile an MLP without tuning for the device."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend import nn
    from tvm.support import cc

    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 48)
            self.out = nn.Linear(48, 10)

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return self.out(nn.op.relu(self.hidden(x)))

    spec = {"forward": {"x": nn.spec.Tensor((2, 64), "float32")}}
    mod, _ = MLP().export_tvm(spec)
    target = tvm.target.Target(TARGET)
    pipeline = relax.pipeline.static_shape_tuning_pipeline(
        total_trials=0, target=target, work_dir=str(work_dir)
    )
    executable = tvm.compile(pipeline(mod), target)
    executable.export_library(str(library), fcompile=cc.cross_compiler(CROSS_COMPILER))


def listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True


def test_an_mlp_gives_the_right_numbers(device_folder: Path, tmp_path: Path) -> None:
    import tvm
    from tvm import relax, rpc

    export_mlp(tmp_path / "mlp.so", tmp_path / "records")
    random = np.random.default_rng(0)
    shapes = [(2, 64), (48, 64), (48,), (10, 48), (10,)]
    x, *weights = [random.standard_normal(shape, dtype=np.float32) for shape in shapes]
    w1, b1, w2, b2 = weights
    expected = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2

    with emulated_server(device_folder, key="arm") as server:
        session = rpc.connect(server.host, server.port, key="arm")
        session.upload(bytearray((tmp_path / "mlp.so").read_bytes()), "mlp.so")
        device = session.cpu(0)
        vm = relax.VirtualMachine(session.load_module("mlp.so"), device)
        vm.set_input("forward", *(tvm.runtime.tensor(array, device) for array in (x, *weights)))
        vm.invoke_stateful("forward")
        actual = vm.get_outputs("forward").numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_server_ends_with_the_process_that_started_it(device_folder: Path) -> None:
    command = [sys.executable, "-c", WAITS, str(device_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        assert starter.stdout is not None
        address = ("127.0.0.1", int(starter.stdout.readline()))
        assert listens(address)
        starter.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while listens(address) and time.monotonic() < end:
        time.sleep(0.1)
    assert not listens(address)
