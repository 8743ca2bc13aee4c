"""What others than TVM register with TVM in this process, and where: recorded as it happens.

An import hook wraps TVM's registering functions when they are first imported. Importing this module
imports no tvm.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from pytest_tvmtune.relax.compat import CORE_ROOTS

_OWN = frozenset({*CORE_ROOTS, "tvm_ffi", "pytest_tvmtune"})
_MARK = "_tvmtune_records"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One call of a registering function. kind, name: for messages; file, line: of the call."""

    kind: str
    name: str
    file: str
    line: int

    def __str__(self) -> str:
        """Return it as messages have it."""
        return f"{self.kind} {self.name} ({self.file}:{self.line})"


@dataclass(kw_only=True)
class _Recorder:
    """What this process's import hook has seen.

    late: TVM was imported before the hook was installed. python_names: global functions that Python
    registered, TVM's own included; tvm_names: those that existed when `import tvm` was done.
    registering: one of the registering functions is running.
    """

    started: bool = False
    late: bool = False
    registrations: list[Registration] = field(default_factory=list)
    python_names: set[str] = field(default_factory=set)
    tvm_names: set[str] = field(default_factory=set)
    unexplained: frozenset[str] = frozenset()
    count: int = -1
    registering: bool = False


_recorder = _Recorder()


def start_recording() -> None:
    """Record registrations from now on; imports nothing."""
    if _recorder.started:
        return
    _recorder.started = True
    _recorder.late = "tvm_ffi" in sys.modules
    for name in _POINTS:
        if name in sys.modules:
            _wrap_all(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


def recorded() -> list[Registration]:
    """Return what others than TVM have registered in this process since recording began."""
    return list(_recorder.registrations)


def unexplained_names() -> frozenset[str]:
    """Return the global functions whose registration wasn't seen; all where TVM came first.

    A native library registers its functions unseen.
    """
    if "tvm_ffi" not in sys.modules:
        return frozenset()
    from tvm_ffi.registry import get_global_func, list_global_func_names

    count = get_global_func("ffi.FunctionListGlobalNamesFunctor")()(-1)  # all names take longer
    if count != _recorder.count:
        seen = _recorder.python_names | _recorder.tvm_names
        names = list_global_func_names()
        _recorder.unexplained = frozenset(name for name in names if name not in seen)
        _recorder.count = count
    return _recorder.unexplained


def is_in_tvms_namespace(name: str) -> bool:
    """Whether TVM itself may look up a global function of this name; any, where TVM came first."""
    known = _recorder.tvm_names
    return (
        not known
        or name in known
        or name.startswith("tvm_callback_")
        or name.partition(".")[0] in {one.partition(".")[0] for one in known}
    )


def began_late() -> bool:
    """Whether TVM was imported before: what was overridden until then can't be seen."""
    return _recorder.late


def _global_func(func_name: Any, *_: Any, **__: Any) -> str:
    return str(func_name if isinstance(func_name, str) else func_name.__name__)


def _first(name: Any, *_: Any, **__: Any) -> str:
    return str(name)


def _lowering(op_name: Any, *_: Any, **__: Any) -> str:
    return str(op_name)


def _op_attr(op_name: Any, attr_key: Any, *_: Any, **__: Any) -> str:
    return f"{attr_key} of {op_name}"


def _set_attr(self: Any, attr_name: Any, *_: Any, **__: Any) -> str:
    return f"{attr_name} of {self.name}"


def _patterns(patterns: Any, *_: Any, **__: Any) -> str:
    return ", ".join(str(one[0] if isinstance(one, tuple) else one.name) for one in patterns)


# Module -> function -> (kind, what names one in messages from the function's arguments).
_Points = dict[str, dict[str, tuple[str, Callable[..., str]]]]
# Of TVM's core. Until apache-tvm 0.26, lowerings of intrinsics and tensor intrinsics are registered
# in other modules.
_CORE_POINTS: _Points = {
    "ir.op": {
        "register_op_attr": ("operator attribute", _op_attr),
        "register_intrin_lowering": ("lowering of intrinsic", _lowering),
        "Op.set_attr": ("operator attribute", _set_attr),
        "Op.reset_attr": ("removal of operator attribute", _set_attr),
    },
    "tirx.function": {"TensorIntrin.register": ("tensor intrinsic", _first)},
    "tirx.op": {"register_intrin_lowering": ("lowering of intrinsic", _lowering)},
    "tirx.compilation_pipeline": {"register_tir_pipeline": ("pipeline", _first)},
    "tirx.operator.tile_primitive.dispatcher": {"register_dispatch": ("dispatch of", _lowering)},
}
_POINTS: _Points = {
    **{f"{root}.{name}": points for root in CORE_ROOTS for name, points in _CORE_POINTS.items()},
    "tvm_ffi.registry": {
        "register_global_func": ("global function", _global_func),
        "remove_global_func": ("removal of global function", _first),
    },
    "tvm.s_tir._tensor_intrin": {"TensorIntrin.register": ("tensor intrinsic", _first)},
    "tvm.relax.backend.pattern_registry": {"register_patterns": ("pattern", _patterns)},
    "tvm.relax.pipeline": {"register_pipeline": ("pipeline", _first)},
    # When it is there, all is that TVM brings.
    "tvm": {},
}


class _Finder:
    """Finds the modules above as others do, and wraps their functions once they have been run."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _POINTS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                _wrap_when_run(spec)
                return spec
        return None


def _wrap_when_run(spec: ModuleSpec) -> None:
    loader: Any = spec.loader
    if loader is None:
        return
    run = loader.exec_module

    def run_and_wrap(module: ModuleType) -> None:
        run(module)
        _wrap_all(module)

    loader.exec_module = run_and_wrap


def _wrap_all(module: ModuleType) -> None:
    if module.__name__ == "tvm":
        if not _recorder.late:
            _recorder.tvm_names = set(unexplained_names())
            _recorder.count = -1
        return
    for path, (kind, name_of) in _POINTS[module.__name__].items():
        *classes, name = path.split(".")
        owner: Any = module
        for one in classes:
            owner = getattr(owner, one, None)
        original = getattr(owner, name, None)
        if original is None or hasattr(original, _MARK):
            continue
        wrapped = _recording(original, kind, name_of)
        static = isinstance(vars(owner).get(name), staticmethod)
        setattr(owner, name, staticmethod(wrapped) if static else wrapped)
        if not classes:
            _replace_copies(name, original, wrapped)


def _replace_copies(name: str, original: Any, wrapped: Any) -> None:
    """Where a module was imported before: others have the function from it under its name."""
    for module in list(sys.modules.values()):
        if _root(getattr(module, "__name__", "")) in _OWN and (vars(module).get(name) is original):
            setattr(module, name, wrapped)


def _recording(original: Any, kind: str, name_of: Callable[..., str]) -> Any:
    @functools.wraps(original)
    def register(*arguments: Any, **named: Any) -> Any:
        # One of these functions may call another; the name of a global function counts anyway.
        if _recorder.registering and name_of is not _global_func:
            return original(*arguments, **named)
        _record(kind, name_of, arguments, named)
        _recorder.registering = True
        try:
            return original(*arguments, **named)
        finally:
            _recorder.registering = False

    setattr(register, _MARK, True)
    return register


def _record(kind: str, name_of: Callable[..., str], arguments: Any, named: Any) -> None:
    try:
        name = name_of(*arguments, **named)
    except Exception:  # noqa: BLE001  wrong arguments: the function itself says so
        return
    if name_of is _global_func:
        _recorder.python_names.add(name)
    if (caller := _caller(sys._getframe(2))) is not None:  # noqa: SLF001
        registration = Registration(
            kind=kind, name=name, file=caller.f_code.co_filename, line=caller.f_lineno
        )
        if registration not in _recorder.registrations:
            _recorder.registrations.append(registration)


def _caller(frame: FrameType | None) -> FrameType | None:
    """Return the frame that registers something; None where TVM, or this package, does so itself.

    `register_legalize` and others of TVM register what their caller gives them.
    """
    while frame is not None:
        if _root(frame.f_globals.get("__name__")) not in _OWN:
            return frame
        if not frame.f_code.co_name.lstrip("_").startswith("register"):
            return None
        frame = frame.f_back
    return None


def _root(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""
