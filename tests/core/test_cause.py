"""Why an artifact is slower or faster: read off what the two are made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pytest_tvmtune.core.gating.slowdown_cause import ArtifactOrigin, Cause, find_cause
from pytest_tvmtune.core.kernels.matching import Kernel

VERSIONS = ("0.27.0", "0.1.14")


def kernel(shash: str, record: str = "", code: str = "") -> Kernel:
    """Return a kernel whose code comes from its workload and record, unless it is given."""
    return Kernel(outputs=(1,), shash=shash, record=record, code=code or f"{shash}+{record}")


A, B = kernel("a", "ra"), kernel("b", "rb")
COPY = kernel("", code="copy")
BEFORE = ArtifactOrigin(
    library="before", kernels={"a": A, "b": B, "copy": COPY}, versions=VERSIONS, num_threads=2
)


def cause(
    kernels: Mapping[str, Kernel] = BEFORE.kernels,
    *,
    before: ArtifactOrigin = BEFORE,
    known: Collection[str] = ("ra", "rb", "other"),
    untuned: str = "",
    **now: Any,
) -> Cause:
    changed: dict[str, Any] = {"library": "now", "kernels": kernels, **now}
    origin = replace(before, **changed)
    return find_cause(before, origin, known_records=known, untuned=untuned)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, "same code; no other known change"),
        ({"num_threads": 4}, "same code; threads 2 -> 4"),
        (
            {"versions": ("0.27.0", "0.1.15")},
            "same code; TVM 0.27.0 / ffi 0.1.14 -> 0.27.0 / ffi 0.1.15",
        ),
        (
            {"num_threads": 1, "versions": ("0.27.1", "0.1.14")},
            "same code; threads 2 -> 1, TVM 0.27.0 / ffi 0.1.14 -> 0.27.1 / ffi 0.1.14",
        ),
    ],
)
def test_the_same_library_leaves_the_environment(now: dict[str, Any], said: str) -> None:
    assert cause(library="before", **now) == Cause(kind="environment", message=said)


@pytest.mark.parametrize(
    ("kernels", "told"),
    [
        ({**BEFORE.kernels, "c": kernel("c")}, "new: c"),
        ({"a": A, "copy": COPY}, "removed: b"),
        ({"a": A, "c": kernel("c"), "copy": COPY}, "new: c, removed: b"),
        ({**BEFORE.kernels, "b": kernel("c", "rc")}, "changed: b"),
        # Of no task: its code is its workload.
        ({**BEFORE.kernels, "copy": kernel("", code="other")}, "changed: copy"),
        ({**BEFORE.kernels, "copy": kernel("c")}, "changed: copy"),
    ],
)
def test_a_changed_model(kernels: dict[str, Kernel], told: str) -> None:
    assert cause(kernels) == Cause(kind="model", message=f"model changed ({told})")


def test_a_renamed_kernel_is_no_change_of_the_model() -> None:
    found = cause({"x": A, "b": B, "copy1": COPY})
    assert found.kind == "order"


def test_names_are_cut_after_four() -> None:
    more = {f"k{n}": kernel(f"k{n}") for n in range(5)}
    four = {name: more[name] for name in list(more)[:4]}
    assert cause({**BEFORE.kernels, **four}).message == "model changed (new: k0, k1, k2, k3)"
    assert cause({**BEFORE.kernels, **more}).message == (
        "model changed (new: k0, k1, k2, k3 and 1 more)"
    )


def test_another_schedule() -> None:
    assert cause({**BEFORE.kernels, "b": kernel("b", "other")}) == Cause(
        kind="schedule", message="schedule changed: another record is applied to b"
    )


def test_another_schedule_since_the_cache_was_lost() -> None:
    now = {"a": kernel("a", "x"), "b": kernel("b", "y"), "copy": COPY}
    assert cause(now, known=["x", "y"]) == Cause(
        kind="schedule",
        message="schedule changed: another record is applied to a, b; the store had lost the "
        "baseline's records, so the tasks were tuned again",
    )


def test_one_record_that_is_gone_is_no_lost_cache() -> None:
    """Better ones push it out of the store."""
    now = {**BEFORE.kernels, "b": kernel("b", "y")}
    assert cause(now, known=["ra", "y"]).message == (
        "schedule changed: another record is applied to b; the store no longer has the "
        "baseline's records of b"
    )


def test_what_was_untuned_and_is_tuned_now() -> None:
    before = replace(BEFORE, kernels={"a": kernel("a"), "b": B})
    found = cause({"a": A, "b": kernel("b", "other")}, before=before)
    assert found == Cause(
        kind="schedule",
        message="schedule changed: another record is applied to b; now tuned, untuned in the "
        "baseline: a",
    )
    # That one never had a record that could be lost.
    found = cause({"a": A, "b": B}, before=before, known=[])
    assert found.message == "schedule changed: now tuned, untuned in the baseline: a"


def test_records_that_make_equal_code_are_no_change() -> None:
    same = replace(A, record="other")
    assert cause({**BEFORE.kernels, "a": same}).kind == "order"
    untuned = replace(A, record="")
    assert cause({**BEFORE.kernels, "a": untuned}).kind == "order"


def test_untuned_now_and_tuned_before_comes_first() -> None:
    now = {"a": kernel("a"), "b": kernel("b", "other"), "c": kernel("c"), "copy": COPY}
    assert cause(now) == Cause(
        kind="model",
        message="now untuned, tuned in the baseline: a; model changed (new: c); "
        "schedule changed: another record is applied to b",
    )
    assert cause({**BEFORE.kernels, "a": kernel("a")}, known=[]) == Cause(
        kind="schedule", message="now untuned, tuned in the baseline: a"
    )


NEXT = ("0.28.0", "0.1.14")
TOLD = "TVM 0.27.0 / ffi 0.1.14 -> 0.28.0 / ffi 0.1.14"


def test_another_tvm_whose_hashes_say_nothing() -> None:
    now = {"a": kernel("A", "ra"), "b": kernel("B", "rb"), "copy": kernel("", code="COPY")}
    assert cause(now, versions=NEXT) == Cause(
        kind="tvm", message=f"{TOLD}; same records, but different code for a, b, copy"
    )
    assert cause(now, versions=NEXT, untuned="the untuned code is 1.2x slower").message == (
        f"{TOLD}, the untuned code is 1.2x slower; same records, but different code for a, b, copy"
    )


def test_another_tvm_that_changes_nothing_else() -> None:
    assert cause(versions=NEXT, num_threads=3) == Cause(
        kind="tvm", message=f"{TOLD}; threads 2 -> 3"
    )


def test_another_tvm_and_all_of_it_untuned() -> None:
    now = {"a": kernel("A"), "b": kernel("B"), "copy": COPY}
    assert cause(now, versions=NEXT) == Cause(
        kind="tvm", message=f"now untuned, tuned in the baseline: a, b; {TOLD}"
    )


def test_hashes_hold_within_a_minor_version() -> None:
    found = cause({**BEFORE.kernels, "b": kernel("c")}, versions=("0.27.1.post2", "0.1.15"))
    assert found.kind == "tvm"
    assert found.message.endswith("model changed (changed: b)")


def test_the_clause_on_untuned_code_needs_another_tvm() -> None:
    assert cause(untuned="never said").kind == "order"
    assert "never said" not in cause(untuned="never said").message


def test_other_code_of_the_same_records() -> None:
    now = {**BEFORE.kernels, "b": kernel("b", "rb", code="new")}
    assert cause(now) == Cause(kind="code", message="same records, but different code for b")
    assert cause(now, num_threads=1).message.endswith("; threads 2 -> 1")


def test_what_is_called_more_or_less_often_is_a_change_of_the_model() -> None:
    before = replace(
        BEFORE, kernels={name: replace(BEFORE.kernels[name], calls=2) for name in "ab"}
    )
    now = {"a": replace(A, calls=3), "b": replace(kernel("b", "other"), calls=1)}
    assert cause(now, before=before) == Cause(
        kind="model",
        message="model changed (called: a 2 -> 3 times, b 2 -> 1 times); "
        "schedule changed: another record is applied to b",
    )


def test_the_same_kernels_in_another_order() -> None:
    assert cause() == Cause(
        kind="order",
        message="all kernels are the same, but their order, their names, or a constant differs",
    )


def test_a_ready_library_is_not_looked_into() -> None:
    found = cause({}, num_threads=4)
    assert found.kind == "code"
    assert found.message == "another library; its kernels aren't known; threads 2 -> 4"
    unknown = replace(BEFORE, kernels={})
    assert cause(before=unknown, kernels=BEFORE.kernels).kind == "code"


# Tuning with prepack splits a task's kernel into one that lays out the weights and one that takes
# them: `conv` becomes `conv_weight_prepack` and `conv_prepacked`.
CONV = kernel("c")
SPLIT = {"conv_prepacked": kernel("c", "rc"), "conv_weight_prepack": kernel("", code="layout")}


@pytest.mark.parametrize("number", ["", "1"])
@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (
            {"conv": CONV},
            SPLIT,
            "schedule changed: now tuned, untuned in the baseline: conv_prepacked",
        ),
        (SPLIT, {"conv": CONV}, "now untuned, tuned in the baseline: conv"),
        # A schedule that lays out nothing: the kernel keeps its name.
        (
            {"conv": kernel("c", "other")},
            SPLIT,
            "schedule changed: another record is applied to conv_prepacked",
        ),
        (
            SPLIT,
            {"conv": kernel("c", "other")},
            "schedule changed: another record is applied to conv",
        ),
        (
            SPLIT,
            {
                "conv_prepacked": kernel("c", "other"),
                "conv_weight_prepack": kernel("", code="other layout"),
            },
            "schedule changed: another record is applied to conv_prepacked",
        ),
    ],
)
def test_what_tuning_splits_is_no_change_of_the_model(
    was: Mapping[str, Kernel], now: Mapping[str, Kernel], told: str, number: str
) -> None:
    """Also where the names of another task's kernels move up by one."""
    before = replace(BEFORE, kernels={**BEFORE.kernels, **was})
    renamed = {f"{name}{number}": one for name, one in now.items()}
    known = ["ra", "rb", "rc", "other"]
    found = cause({**BEFORE.kernels, **renamed}, before=before, known=known)
    for name in now:
        told = told.replace(f"{name} ", f"{name}{number} ")
        told = f"{told}{number}" if told.endswith(f" {name}") else told
    assert found == Cause(kind="schedule", message=told)


def test_a_layout_kernel_of_the_same_record_with_other_code_is_named() -> None:
    before = replace(BEFORE, kernels={**BEFORE.kernels, **SPLIT})
    other = {**SPLIT, "conv_weight_prepack": kernel("", code="other layout")}
    assert cause({**BEFORE.kernels, **other}, before=before) == Cause(
        kind="code", message="same records, but different code for conv_weight_prepack"
    )


def test_a_layout_kernel_without_the_kernel_it_is_for_is_of_the_model() -> None:
    """It is the user's own, and only called so."""
    own = {"my_weight_prepack": kernel("", code="own")}
    assert cause({**BEFORE.kernels, **own}).message == "model changed (new: my_weight_prepack)"


def test_what_tuning_splits_under_another_tvm_is_matched_by_name() -> None:
    before = replace(BEFORE, kernels={**BEFORE.kernels, "conv": CONV})
    split = {"conv_prepacked": kernel("C", "rc"), "conv_weight_prepack": kernel("", code="layout")}
    found = cause({**BEFORE.kernels, **split}, before=before, versions=NEXT, known=["ra", "rb"])
    assert found == Cause(
        kind="tvm",
        message=f"{TOLD}; schedule changed: now tuned, untuned in the baseline: conv_prepacked",
    )
