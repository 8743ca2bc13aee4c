"""A Session: a loaded artifact with its parameters transformed, ready to call and to time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tvmtune.core.clock import monotonic_s
from pytest_tvmtune.core.errors import CompileError, counted
from pytest_tvmtune.core.tensors.dtypes import dtype_of, to_plain
from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.machine.remote_device import RemoteDevice
from pytest_tvmtune.processes.shared_arrays import (
    LARGE_BYTES,
    SharedArray,
    release_pages,
    releasing_pages,
    share_arrays,
)
from pytest_tvmtune.relax.devices.machine import Machine
from pytest_tvmtune.relax.measuring.output_arrays import to_numpy
from pytest_tvmtune.store.artifacts import EntryPoint, Manifest

if TYPE_CHECKING:
    from tvm.runtime import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryCall:
    """What a job is given to call an entry of a library.

    target: in JSON. params: every parameter after the runtime inputs, original order and shapes.
    remote: the device that it is called on, None for this machine; num_threads: of TVM's runtime
    there.
    """

    entry: str
    target: str
    params: tuple[Array, ...]
    inputs: tuple[Array, ...]
    remote: RemoteDevice | None = None
    num_threads: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """What is needed to call `entry`: `vm[entry](*inputs, *params)`.

    vm: a `relax.VirtualMachine`, or one on another machine. params: transformed where the artifact
    is prepacked. arrays: the shared arrays that contain them. transform_s and
    transform_extra_bytes: the cost of the transform, None without a transform; never part of a
    timed call.
    """

    vm: Any
    entry: str
    machine: Machine
    inputs: tuple[Tensor, ...]
    params: tuple[Tensor, ...]
    arrays: tuple[Array, ...]
    transform_s: float | None
    transform_extra_bytes: int | None


def open_session(
    library: Path,
    entry: str,
    point: EntryPoint,
    *,
    params: Sequence[Array],
    inputs: Sequence[Array],
    machine: Machine,
    scratch: Path | None = None,
    instrument: Callable[..., int] | None = None,
) -> Session:
    """Load an artifact and put parameters and inputs on the machine's device.

    params: every parameter after the runtime inputs, original order and shapes. scratch: below it
    large transformed parameters are shared; None leaves them in memory. instrument: called before
    and after each kernel, of the transform as well; not together with scratch.
    Raises CompileError when the library doesn't take what its model promised.
    """
    module = machine.load(library)
    vm = machine.virtual_machine(module)
    if instrument is not None:
        vm.set_instrument(instrument)
    originals = _placed(params, machine)
    placed = _placed(inputs, machine)
    transform_s = extra_bytes = None
    ready, arrays = originals, tuple(params)
    if point.transforms:
        started = monotonic_s()
        with releasing_pages(params):
            ready = transform_params(vm, entry, originals)
        transform_s = monotonic_s() - started
        own = _own(originals, ready, machine)
        extra_bytes = sum(size_bytes(ready[index]) for index in own)
        if scratch is not None and extra_bytes >= LARGE_BYTES and not machine.is_remote:
            shared_arrays = share_arrays((ready[index].numpy() for index in own), scratch)
            arrays = (*arrays, *shared_arrays.arrays)
            moved = dict(zip(own, shared_arrays.arrays, strict=True))
            ready = tuple(
                tensor_on(moved[index]) if index in moved else tensor
                for index, tensor in enumerate(ready)
            )
            # The VM keeps what it returned last: another one takes its place.
            vm = machine.virtual_machine(module)
            machine.empty_pools()
    _check_arguments(entry, point, placed, ready)
    return Session(
        vm=vm,
        entry=entry,
        machine=machine,
        inputs=placed,
        params=ready,
        arrays=arrays,
        transform_s=transform_s,
        transform_extra_bytes=extra_bytes,
    )


def with_inputs(session: Session, inputs: Sequence[Array]) -> Session:
    """Return a session that calls the same with other inputs, of the same shapes and dtypes."""
    return replace(session, inputs=_placed(inputs, session.machine))


def open_requested(
    entry_call: EntryCall,
    machine: Machine,
    library: Path,
    manifest: Manifest,
    *,
    scratch: Path | None = None,
    instrument: Callable[..., int] | None = None,
) -> Session:
    """Return the session that a job is asked for.

    Args:
        entry_call: What is called.
        machine: Where, as `open_machine` returns it.
        library: In which library.
        manifest: Of the library.
        scratch: As in `open_session`.
        instrument: As in `open_session`.

    Returns:
        The session.

    Raises:
        CompileError: The library doesn't take what its model promised.

    """
    return open_session(
        library,
        entry_call.entry,
        manifest.entries[entry_call.entry],
        params=entry_call.params,
        inputs=entry_call.inputs,
        machine=machine,
        scratch=scratch,
        instrument=instrument,
    )


def transform_params(vm: Any, entry: str, params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run `<entry>_transform_params` once, before anything is timed.

    params: every parameter of `entry` after its runtime inputs, original order and shapes; none
    where the parameters are bound as constants.
    Returns what `entry` takes after its runtime inputs, on the VM's device. Parameters that pass
    through alias the originals.
    Source: relax.transform.LiftTransformParams.
    """
    return tuple(vm[f"{entry}_transform_params"](list(params)))


def call(session: Session) -> Any:
    """Run the entry once; return its outputs as numpy arrays, in tuples where it has several.

    Raises ModelError for an output that has no numbers.
    """
    outputs = to_numpy(call_on_device(session))
    release_pages(session.arrays)
    return outputs


def call_on_device(session: Session) -> Any:
    """Run the entry once, to its end; return its outputs as they are: tensors on the device."""
    outputs = session.vm[session.entry](*session.inputs, *session.params)
    session.machine.device.sync()
    return outputs


def claim_threads(num_threads: int) -> None:
    """Set the runtime threads of this process; without effect once a kernel has run in it."""
    os.environ["TVM_NUM_THREADS"] = str(num_threads)


def _check_arguments(
    entry: str, point: EntryPoint, inputs: Sequence[Any], params: Sequence[Any]
) -> None:
    if point.arguments is None:
        return
    got = [(tuple(int(d) for d in p.shape), str(p.dtype)) for p in (*inputs, *params)]
    want = [(spec.shape, spec.dtype) for spec in point.arguments]
    if got == want:
        return
    start = len(inputs)
    count = f"{counted(len(params), 'parameter')} after {counted(start, 'input')}"
    given = f"{entry}_transform_params returns {count}" if point.transforms else f"{count} given"
    if len(got) != len(want):
        raise CompileError(
            f"{given}, but the compiled {entry} takes {counted(len(want), 'argument')} in all"
        )
    index = next(i for i, (one, other) in enumerate(zip(got, want, strict=True)) if one != other)
    raise CompileError(
        f"{given}, but the compiled {entry} takes {want[index]} as argument {index}, not "
        f"{got[index]}"
    )


def _placed(arrays: Sequence[Array], machine: Machine) -> tuple[Tensor, ...]:
    import tvm

    is_reachable = not machine.is_remote and str(machine.device.type) == "cpu"
    return tuple(
        tensor_on(array)
        if isinstance(array, SharedArray) and is_reachable
        else tvm.runtime.tensor(_contiguous(array), machine.device)
        for array in arrays
    )


def tensor_on(array: Array) -> Tensor:
    """Return a tensor on a shared array's own memory, which is aligned as TVM wants it."""
    import tvm

    tensor = tvm.runtime.from_dlpack(to_plain(array))
    # DLPack knows nothing of ml_dtypes.
    view = tensor._create_view(array.shape, array.dtype.name)  # noqa: SLF001
    return tensor if str(tensor.dtype) == array.dtype.name else view


def _contiguous(array: Array) -> Array:
    # Not np.ascontiguousarray: that gives a tensor of rank 0 a dimension.
    return np.asarray(array, order="C")


def _own(originals: Sequence[Any], ready: Sequence[Any], machine: Machine) -> list[int]:
    """Return which of the transformed parameters are not the originals themselves."""

    def place(tensor: Any) -> tuple[int, tuple[int, ...]]:
        return machine.address_of(tensor), tuple(tensor.shape)

    aliases = set(map(place, originals))
    return [index for index, tensor in enumerate(ready) if place(tensor) not in aliases]


def size_bytes(tensor: Any) -> int:
    """Return the bytes that a tensor's values take."""
    return math.prod(int(d) for d in tensor.shape) * dtype_of(str(tensor.dtype)).itemsize


def copy_of(tensor: Any) -> Any:
    """Return a copy of a tensor on its own device."""
    import tvm

    fresh = tvm.runtime.empty(tensor.shape, tensor.dtype, tensor.device)
    fresh.copyfrom(tensor)
    return fresh
