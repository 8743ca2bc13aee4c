"""Where libraries run and are timed: in this process, or on a device behind TVM RPC."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.machine.fingerprint import cgroup_memory_bytes
from pytest_tvmtune.relax import compat
from pytest_tvmtune.relax.devices.targets import first_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvm.runtime import Device

# TVM's function for random data; a server may lack it.
RANDOM_FILL = "tvm.contrib.random.random_fill_for_measure"
_MOST_FLUSH_BYTES = 256 << 20
_CACHES = "/sys/devices/system/cpu/cpu0/cache"


class Machine(Protocol):
    """Where libraries run. is_remote: whether a tensor's memory is out of this process's reach."""

    is_remote: bool

    @property
    def device(self) -> Device:
        """Where tensors are allocated."""

    def function(self, name: str) -> Any:
        """Return a global function of TVM's runtime, None where it isn't there."""

    def load(self, library: Path) -> Any:
        """Return a library's module."""

    def load_copy(self, library: Path, folder: Path) -> Any:
        """Return a library's module at a new place in memory. folder: for files of this process."""

    def virtual_machine(self, module: Any) -> Any:
        """Return what calls a module's entries, with the methods of `relax.VirtualMachine`."""

    def seconds(self, vm: Any, saved_as: str, number: int, *, cold_cache: bool) -> float:
        """Return the mean seconds of one call, over calls that are timed one by one.

        saved_as: as the call was saved with `vm.save_function`. cold_cache: empty the caches before
        each.
        """

    def address_of(self, tensor: Any) -> int:
        """Return the address of a tensor's first element."""

    def empty_pools(self) -> None:
        """Give back what the VM's pools and the C library keep of memory that was freed."""

    def num_threads_used(self) -> int:
        """Return how many threads TVM's runtime really uses."""

    def fixed_affinity(self) -> contextlib.AbstractContextManager[None]:
        """Keep a single thread on the core where it is now."""

    def free_bytes(self, folder: Path) -> int:
        """Return what is free for copies of libraries: in memory, and on disk."""


class ThisMachine:
    """This process."""

    is_remote = False

    def __init__(self, kind: str) -> None:
        """Find the first device. kind: as `targets.device_kind` returns it. Raises LackingError."""
        self.device = first_device(kind)

    def function(self, name: str) -> Any:
        """Return a global function of TVM's runtime, None where it isn't there."""
        import tvm

        return tvm.get_global_func(name, allow_missing=True)

    def load(self, library: Path) -> Any:
        """Return a library's module."""
        import tvm

        return tvm.runtime.load_module(str(library))

    def load_copy(self, library: Path, folder: Path) -> Any:
        """Return a library's module at a new place in memory."""
        # TVM maps one path once and never unmaps it: only a new path moves the code.
        copy = folder / f"placed-{secrets.token_hex(8)}.so"
        shutil.copyfile(library, copy)
        try:
            return self.load(copy)
        finally:
            copy.unlink()

    def virtual_machine(self, module: Any) -> Any:
        """Return a `relax.VirtualMachine`."""
        from tvm import relax

        return relax.VirtualMachine(module, self.device)

    def seconds(self, vm: Any, saved_as: str, number: int, *, cold_cache: bool) -> float:
        """Return the mean seconds of one call, by this process's clock."""
        call, sync = vm[saved_as], self.device.sync
        flush = cache_flusher() if cold_cache else None
        spent_s = 0.0
        for _ in range(number):
            if flush is not None:
                flush()
            started = monotonic_s()
            call()
            sync()
            spent_s += monotonic_s() - started
        return spent_s / number

    def address_of(self, tensor: Any) -> int:
        """Return the address of a tensor's first element."""
        return compat.address_of(tensor)

    def empty_pools(self) -> None:
        """Give back what the VM's pools and the C library keep of memory that was freed."""
        self.function("vm.builtin.memory_manager.clear")()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)

    def num_threads_used(self) -> int:
        """Return how many threads TVM's runtime really uses in this process."""
        return int(self.function("runtime.NumThreads")())

    @contextlib.contextmanager
    def fixed_affinity(self) -> Iterator[None]:
        """Keep a single thread on its core; TVM binds the threads of a pool itself."""
        if self.num_threads_used() > 1 or not hasattr(os, "sched_setaffinity"):
            yield
            return
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {current_core()})
            yield
        finally:
            os.sched_setaffinity(0, allowed)

    def free_bytes(self, folder: Path) -> int:
        """Return what is free in this process's cgroup and in `folder`."""
        free = shutil.disk_usage(folder).free
        left = cgroup_memory_bytes()
        return free if left is None else min(free, left)


def current_core() -> int:
    """Return the number of the core that the main thread is on, or was on last; only on Linux."""
    # The last field but 13: man 5 proc_pid_stat, field 39.
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])


def flush_bytes(read: Callable[[str], str]) -> int:
    """Return how much memory to write over to empty the caches: twice the largest.

    read: returns the content of a file of the machine, "" where there is none.
    """
    sizes = []
    for index in range(8):
        text = read(f"{_CACHES}/index{index}/size").strip()
        if text:
            sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    return min(2 * max(sizes, default=32 << 20), _MOST_FLUSH_BYTES)


@lru_cache(maxsize=1)
def cache_flusher() -> Callable[[], None]:
    """Return a function that writes over twice the largest cache of this machine."""
    block = np.zeros(flush_bytes(_read), np.uint8)

    def flush() -> None:
        np.add(block, 1, out=block)

    return flush


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
