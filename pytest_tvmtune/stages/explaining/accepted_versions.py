"""The TVM that a baseline was accepted with, and the one here: by version, else by content."""

from __future__ import annotations

from typing import Any

from pytest_tvmtune.core.gating.accepted_baseline import Baseline
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.relax.installation.toolchain_identity import setup_identity
from pytest_tvmtune.relax.installation.tvm_files import tvm_identity
from pytest_tvmtune.store.layout import Store

_CONTENT = ("tvm_files", "tvm_setup")
_SHOWN_DIGITS = 8
VersionPair = tuple[str, str]


def content_here(store: Store) -> dict[str, str]:
    """Return what a baseline's fingerprint keeps in addition to the versions."""
    return dict(zip(_CONTENT, (tvm_identity(store), setup_identity(store)), strict=True))


def without_content(kept: dict[str, Any]) -> dict[str, Any]:
    """Return a baseline's fingerprint as reports have it."""
    return {name: value for name, value in kept.items() if name not in _CONTENT}


def versions_of_both(store: Store, baseline: Baseline) -> tuple[VersionPair, VersionPair]:
    """Return (tvm, tvm-ffi) of a baseline and of this process, equal only where all code is.

    Equal versions with other files, or with another `tvm_setup`, have their content's digest
    added. A baseline that doesn't know its own is compared by version.
    """
    accepted, here = baseline.fingerprint, fingerprint()
    before = (str(accepted["tvm"]), str(accepted["tvm_ffi"]))
    now = (here.tvm, here.tvm_ffi)
    if before != now:
        return before, now
    content = content_here(store)
    differ = [name for name in _CONTENT if accepted.get(name, content[name]) != content[name]]

    def with_content(of: dict[str, Any]) -> VersionPair:
        told = (f"{name} {str(of[name])[:_SHOWN_DIGITS] or 'none'}" for name in differ)
        return f"{here.tvm} ({', '.join(told)})", here.tvm_ffi

    return (with_content(accepted), with_content(content)) if differ else (before, now)
