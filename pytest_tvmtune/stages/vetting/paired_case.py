"""A case of both environments, and the sides that are compared: which library, which runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_tvmtune.core.tensors.signature import Array
from pytest_tvmtune.core.vetting.vet_report import Schedules
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.relax.vetting.environment_run import BuiltCase, EnvironmentCase
from pytest_tvmtune.stages.vetting.environment_tests import TestedEnvironment
from pytest_tvmtune.stages.vetting.side_comparison import VettedSide

OLD_SIDE = "the old library under the old runtime"
MIXED_SIDE = "the old library under the new runtime"
NEW_SIDE = "the new library under the new runtime"


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedCase:
    """A case of both environments. schedules: of both libraries."""

    old: EnvironmentCase
    new: EnvironmentCase
    old_tested: TestedEnvironment
    new_tested: TestedEnvironment
    schedules: Schedules

    @property
    def label(self) -> str:
        """Its name in messages and tables."""
        return self.new.label

    @property
    def decisions(self) -> int:
        """How many decisions of the gate it takes."""
        old, new = self.old.built, self.new.built
        if old is None or new is None:
            return 0
        return 1 if old.artifact.sha256 == new.artifact.sha256 else 3


@dataclass(frozen=True, kw_only=True, eq=False)
class VettedSides:
    """The sides of a case. mixed: the old library under the new runtime."""

    old: VettedSide
    mixed: VettedSide
    new: VettedSide
    notes: tuple[str, ...]


def sides_of(pair: PairedCase) -> VettedSides | str:
    """Return the sides to compare; why there are none, in words, where a library is missing."""
    old, new = pair.old.built, pair.new.built
    if old is None or new is None:
        if old is None and new is None:
            words = _first_finding(pair.new)
            return f"can't be opened, compiled, or run in both environments: {words}"
        which, case = ("old", pair.old) if old is None else ("new", pair.new)
        return (
            f"can't be opened, compiled, or run in the {which} environment: {_first_finding(case)}"
        )
    if pair.old.signature["inputs"] != pair.new.signature["inputs"]:
        return (
            "the model has other inputs in each environment: "
            f"{pair.old.signature['inputs']} and {pair.new.signature['inputs']}"
        )
    old_call, new_call, notes = _calls(pair, old, new)

    def side(name: str, which: str, built: BuiltCase, entry_call: EntryCall) -> VettedSide:
        is_old = which == "old"
        return VettedSide(
            name=name,
            tested=pair.old_tested if is_old else pair.new_tested,
            case=pair.old if is_old else pair.new,
            artifact=built.artifact,
            call=entry_call,
        )

    return VettedSides(
        old=side(OLD_SIDE, "old", old, old_call),
        mixed=side(MIXED_SIDE, "new", old, old_call),
        new=side(NEW_SIDE, "new", new, new_call),
        notes=notes,
    )


def _calls(
    pair: PairedCase, old: BuiltCase, new: BuiltCase
) -> tuple[EntryCall, EntryCall, tuple[str, ...]]:
    """Return both calls with the same inputs, and the same parameters if the model has the same."""
    notes = []
    new_call = replace(new.call, inputs=old.call.inputs)
    made_anew = not _equal(old.call.inputs, new.call.inputs)
    if pair.old.signature["params"] == pair.new.signature["params"]:
        made_anew = made_anew or not _equal(old.call.params, new.call.params)
        new_call = replace(new_call, params=old.call.params)
    else:
        notes.append(
            f"{pair.label}: the model has other parameters in each environment, so each library is "
            "called with its own parameters"
        )
    if made_anew:
        notes.append(
            f"{pair.label}: the test makes other inputs or parameters in each run, so both "
            "libraries are called with those of the old environment"
        )
    return old.call, new_call, tuple(notes)


def _equal(one: tuple[Array, ...], other: tuple[Array, ...]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )


def _first_finding(case: EnvironmentCase) -> str:
    text = case.findings[0].removeprefix(f"{case.label}: ") if case.findings else "no finding"
    return text.splitlines()[0]
