"""A device behind TVM RPC, as a machine: what is called here runs there."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tvmtune.core.error_text import cause_of
from pytest_tvmtune.core.errors import DeviceError, MissingDeviceError
from pytest_tvmtune.core.settings.rpc_address import RpcAddress
from pytest_tvmtune.machine.fingerprint import cpu_model, fingerprint
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.relax.devices.lost_device import is_lost
from pytest_tvmtune.relax.devices.machine import flush_bytes
from pytest_tvmtune.relax.devices.rpc_connection import connect

if TYPE_CHECKING:
    from tvm.runtime import Device


# Where the device doesn't say how much it has.
_LITTLE_MEMORY_BYTES = 256 << 20


def available_memory_bytes(meminfo: str) -> int:
    """Return the memory that is available, by the text of Linux's /proc/meminfo."""
    lines = dict(line.partition(":")[::2] for line in meminfo.splitlines())
    kib = lines.get("MemAvailable", "").split()
    return int(kib[0]) << 10 if kib else _LITTLE_MEMORY_BYTES


class RemoteMachine:
    """A session of a device, with the native helper loaded.

    Libraries go there once, and are copied there for a new place in memory. Tensors stay there.
    """

    is_remote = True

    def __init__(
        self, session: Any, helper: Path, *, kind: str = "cpu", num_threads: int | None = None
    ) -> None:
        """Load the helper. Raises DeviceError where the device can't run it.

        kind: as `targets.device_kind` returns it. num_threads: of TVM's runtime, None for its own
        choice.
        """
        self._session = session
        self._uploaded: dict[Path, str] = {}
        self._flush_bytes: int | None = None
        self._kept: list[Any] = []
        self.device: Device = session.device(kind, 0)
        try:
            self.helper = self.load(helper)
        except Exception as error:
            if is_lost(error):
                raise
            raise MissingDeviceError(
                f"the device can't load code for the target ({cause_of(error)}); give the target "
                "the triple of the device, for example "
                "'llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72'"
            ) from error
        self._array_size = self.function("ffi.ArraySize")
        self._array_item = self.function("ffi.ArrayGetItem")
        if num_threads is not None:
            self.helper["set_threads"](num_threads)

    def close(self) -> None:
        """End the session; what is left of it here can't be used any more."""
        self._session.get_function("CloseRPCConnection")()

    def function(self, name: str) -> Any:
        """Return a global function of TVM's runtime there, None where it isn't there."""
        try:
            return self._session.get_function(name)
        except AttributeError:
            return None

    def load(self, library: Path) -> Any:
        """Return a library's module, there."""
        return self._session.load_module(self._upload(library))

    def load_copy(self, library: Path, folder: Path) -> Any:  # noqa: ARG002  it has its own
        """Return a library's module at a new place in memory."""
        path = self.function("tvm.rpc.server.workpath")
        copy = f"placed-{secrets.token_hex(8)}.so"
        try:
            self.helper["copy_file"](path(self._upload(library)), path(copy))
            return self._session.load_module(copy)
        finally:
            self._session.remove(copy)

    def _upload(self, library: Path) -> str:
        if library not in self._uploaded:
            name = f"{len(self._uploaded)}-{library.name}"
            # By its path, TVM leaves the file open.
            self._session.upload(bytearray(library.read_bytes()), name)
            self._uploaded[library] = name
        return self._uploaded[library]

    def virtual_machine(self, module: Any) -> RemoteVirtualMachine:
        """Return what calls a module's entries, there."""
        return RemoteVirtualMachine(self, module)

    def seconds(
        self, vm: RemoteVirtualMachine, saved_as: str, number: int, *, cold_cache: bool
    ) -> float:
        """Return the mean seconds of one call, by the device's clock."""
        if cold_cache and self._flush_bytes is None:
            self._flush_bytes = flush_bytes(self.read_file)
        flush = self._flush_bytes if cold_cache else 0
        return float(self.helper["seconds"](vm.module, saved_as, number, flush))

    def address_of(self, tensor: Any) -> int:
        """Return the address of a tensor's first element, there."""
        return int(self.helper["address"](tensor))

    def empty_pools(self) -> None:
        """Give back what the VM's pools and the C library keep of memory that was freed."""
        self.function("vm.builtin.memory_manager.clear")()
        self.helper["trim"]()

    def num_threads_used(self) -> int:
        """Return how many threads TVM's runtime really uses, there."""
        return int(self.function("runtime.NumThreads")())

    def fixed_affinity(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: the device has its own scheduler, and nothing else to do."""
        return contextlib.nullcontext()

    def free_bytes(self, folder: Path) -> int:  # noqa: ARG002  it has its own
        """Return the device's free memory, where its system says so."""
        return available_memory_bytes(self.read_file("/proc/meminfo"))

    def read_file(self, path: str) -> str:
        """Return the content of a file of the device, "" where it has no such file."""
        try:
            return bytes(self.helper["read_file"](path)).decode(errors="replace")
        except Exception as error:
            if "Error caught from RPC call" not in str(error):
                raise
            return ""

    def pack(self, tensors: Sequence[Any]) -> Any:
        """Return an array of tensors, there; it doesn't keep them allocated."""
        return self.helper["tensors"](*tensors)

    def own(self, results: Any, given: Sequence[Any]) -> Any:
        """Return results with the given tensors in place of views of them, which keep nothing."""
        by_address = {self.address_of(tensor): tensor for tensor in given}
        owned = []
        for result in results:
            source = by_address.get(self.address_of(result))
            is_same = source is not None and (source.shape, source.dtype) == (
                result.shape,
                result.dtype,
            )
            owned.append(source if is_same else result)
            if source is not None and not is_same:
                self._kept.append(source)
        return tuple(owned)

    def unpack(self, value: Any) -> Any:
        """Return what a function returned there: tensors and numbers, in tuples for arrays."""
        from tvm.runtime import Tensor

        if value is None or isinstance(value, (Tensor, int, float, str, bytes)):
            return value
        try:
            size = int(self._array_size(value))
        except Exception as error:
            if "Error caught from RPC call" not in str(error):
                raise
            return value
        return tuple(self.unpack(self._array_item(value, index)) for index in range(size))


class RemoteVirtualMachine:
    """The methods of `relax.VirtualMachine` that are used here, for a VM on a device.

    TVM's own class passes tensors across RPC as addresses, so an entry can't take an array of
    them, nor return one, and `save_function` copies them.
    """

    def __init__(self, machine: RemoteMachine, module: Any) -> None:
        from tvm import relax

        self._machine = machine
        self._kept: dict[str, Sequence[Any]] = {}
        self.module = relax.VirtualMachine(module, machine.device).module

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Return an entry, or a saved call. Raises AttributeError where there is none."""
        function, machine = self.module[name], self._machine
        if name in self._kept:
            return function  # type: ignore[no-any-return]

        def call(*arguments: Any) -> Any:
            if len(arguments) == 1 and isinstance(arguments[0], list):
                packed = machine.pack(arguments[0])
                return machine.own(machine.unpack(function(packed)), arguments[0])
            return machine.unpack(
                machine.helper["apply"](self.module, name, machine.pack(arguments))
            )

        return call

    def save_function(
        self, entry: str, saved_as: str, *arguments: Any, include_return: bool = True
    ) -> None:
        """Save a call of an entry under another name."""
        packed = self._machine.pack(arguments)
        self._machine.helper["apply"](
            self.module, "save_function", packed, entry, saved_as, int(include_return)
        )
        self._kept[saved_as] = arguments


def open_remote(
    device: RemoteDevice,
    *,
    kind: str,
    num_threads: int,
    session_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> RemoteMachine:
    """Return a session of a device, as `rpc_connection.connect` does.

    Raises DeviceError where there is none, or where this one isn't as the first one was.
    """
    session = connect(device.address, wait_s=device.wait_s, session_s=session_s, on_wait=on_wait)
    machine = RemoteMachine(session, device.helper, kind=kind, num_threads=num_threads)
    cpu = device_cpu(machine, device.address)
    if cpu != device.fingerprint.cpu:
        raise DeviceError(
            f"the devices at {device.address} differ ({device.fingerprint.cpu}, and {cpu}); give "
            "each kind a separate key"
        )
    return machine


def device_cpu(machine: RemoteMachine, address: RpcAddress) -> str:
    """Return what a device's CPU is called: its model, its system if that differs, and the key."""
    system = str(machine.helper["uname"]())
    model = cpu_model(machine.read_file("/proc/cpuinfo")) or "unknown CPU"
    if system != fingerprint().system:
        model = f"{model}, {system}"
    return f"{model} [{address.key}]" if address.key else model
