"""Records that would bring code along or call functions from outside are refused."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.records import Workload
from pytest_tvmtune.store.tuning.trace_trust import brings_code, external_calls
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload
from tests.support.sample_records import (
    HEAD,
    KEY,
    RECORD,
    SERVED,
    SHASH,
    data,
    head,
    ir_of,
    line,
    path_of,
    put,
    read_with_warnings,
    record,
    refusal,
    served,
    workload,
)

SOURCE = """
@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((4,), "float32"), b: T.Buffer((4,), "float32")):
        for i in T.serial(4):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                {statement}
"""


def module(statement: str) -> Any:
    import tvm.script
    from tvm.script import ir as I  # noqa: N812
    from tvm.script import tirx as T  # noqa: N812

    return tvm.script.from_source(SOURCE.format(statement=statement), {"I": I, "T": T})


def real_ir(mod: Any) -> str:
    from tvm.s_tir.meta_schedule.database import Workload as TvmWorkload

    return str(TvmWorkload(mod).as_json()[1])


@pytest.mark.parametrize(
    ("statement", "called"),
    [
        ('b[vi] = T.call_extern("float32", "system", a[vi])', ["call_extern"]),
        ('b[vi] = T.call_pure_extern("float32", "system", a[vi])', ["call_pure_extern"]),
        ('T.evaluate(T.call_packed("f", a[vi]))', ["tvm_call_packed"]),
        ('T.evaluate(T.call_packed_lowered("f", a[vi]))', ["tvm_call_packed_lowered"]),
        ('T.evaluate(T.call_cpacked("f", a[vi]))', ["tvm_call_cpacked"]),
        ('T.evaluate(T.call_cpacked_lowered("f", a[vi]))', ["tvm_call_cpacked_lowered"]),
        ('T.evaluate(T.call_ffi_kernel("f", a[vi], launch_params=[]))', ["call_ffi_kernel"]),
        (
            'b[vi] = T.call_extern("float32", "f", T.call_pure_extern("float32", "g", a[vi]))',
            ["call_extern", "call_pure_extern"],
        ),
        ("b[vi] = T.exp(a[vi]) + T.max(a[vi], T.float32(0))", []),
        ('b[vi] = T.call_llvm_pure_intrin("float32", "llvm.sqrt", a[vi])', []),
    ],
)
def test_calls_are_found_in_what_tvm_writes(statement: str, called: list[str]) -> None:
    assert external_calls(real_ir(module(statement))) == tuple(called)


def test_calls_are_found_however_their_names_are_spelt_in_json() -> None:
    ir = real_ir(module('b[vi] = T.call_extern("float32", "system", a[vi])'))
    content = base64.b64decode(ir)
    text = content[8:].replace(b'"tirx.call_extern"', b'"tirx.call\\u005fextern"')
    spelt = base64.b64encode(len(text).to_bytes(8, "little") + text).decode()
    assert external_calls(spelt) == ("call_extern",)


def test_a_pragma_in_the_ir_that_imports_code_is_found() -> None:
    from tvm.s_tir import Schedule

    schedule = Schedule(module("b[vi] = T.exp(a[vi])"))
    (loop,) = schedule.get_loops(schedule.get_sblock("b"))
    schedule.annotate(loop, "pragma_import_llvm", "; a module")
    assert external_calls(real_ir(schedule.mod))


@pytest.mark.parametrize("ir", ["%%%", "abc", "grüße", "YQ==\n", "YQ"])
def test_what_is_no_base64_is_told(ir: str) -> None:
    with pytest.raises(ValueError, match=r"^the IR is not base64: "):
        external_calls(ir)


def test_the_names_must_be_operators_not_any_text() -> None:
    # A function that is called like one calls nothing; a longer name is another one.
    assert external_calls(ir_of('{"name_hint": "call_extern"}')) == ()
    assert external_calls(ir_of('"tirx.call_extern_no_more"')) == ()
    assert external_calls(ir_of('"tir.call_extern"')) == ("call_extern",)
    # Within a text, as a trace holds an index map.
    assert external_calls(ir_of('"{\\"op\\": \\"tirx.call_extern\\"}"')) == ("call_extern",)
    assert brings_code([["TransformLayout", ['{"op": "tirx.call_extern"}']]])
    assert brings_code([["TransformLayout", ['{"op": "tirx.call\\u005fextern"}']]])


def annotated(key: str, value: Any = 16) -> list[Any]:
    schedule = [["GetLoops", ["b0"], [], ["l1"]], ["Annotate", ["l1", value], [key], []]]
    return [[schedule, []], *data(1e-3)[1:]]


def test_traces_as_tvm_writes_them() -> None:
    from tvm.s_tir import Schedule

    def trace(key: str, value: Any) -> Any:
        schedule = Schedule(module("b[vi] = T.exp(a[vi])"))
        (loop,) = schedule.get_loops(schedule.get_sblock("b"))
        schedule.annotate(loop, key, value)
        # What a database's file holds.
        return json.loads(json.dumps(plain(schedule.trace.as_json())))

    assert not brings_code(trace("pragma_auto_unroll_max_step", 16))
    assert brings_code(trace("pragma_import_llvm", "; a module"))
    assert brings_code(trace("pragma_import_c", "int f(void);"))


def plain(value: Any) -> Any:
    """Return TVM's arrays and integers as Python's."""
    if isinstance(value, str) or value is None:
        return None if value is None else str(value)
    if hasattr(value, "__iter__"):
        return [plain(one) for one in value]
    return int(getattr(value, "value", value))


@pytest.mark.parametrize("key", ["pragma_import_c", "pragma_import_llvm"])
def test_a_record_whose_trace_brings_code_is_refused(store: Store, key: str) -> None:
    bad = line("record", **{**asdict(record(1e-4)), "data": annotated(key, '"code"')})
    fine = line("record", **{**asdict(record(1.0)), "data": annotated("pragma_auto_unroll")})
    put(path_of(store), HEAD + bad + RECORD + fine + SERVED)
    found, said = read_with_warnings(store)
    assert found is not None
    assert [r.digest for r in found.records] == [
        record(1.0).digest,
        replace(record(1.0), data=annotated("pragma_auto_unroll")).digest,
    ]
    assert found.served == (served(64),)
    assert len(said) == 1
    assert "(line 2: refused: its trace contains code)" in said[0]


def test_ordinary_pragmas_are_fine(store: Store) -> None:
    ordinary = line(
        "record", **{**asdict(record(1.0)), "data": annotated("pragma_auto_unroll_max_step")}
    )
    put(path_of(store), HEAD + ordinary)
    found, said = read_with_warnings(store)
    assert said == []
    assert found is not None
    assert len(found.records) == 1


@pytest.mark.parametrize(
    "operator", ["call_extern", "tvm_call_packed", "anylist_setitem_call_cpacked"]
)
def test_records_of_an_ir_that_calls_out_are_refused_the_ledger_kept(
    store: Store, operator: str
) -> None:
    ir = ir_of(f'{{"op": "tirx.{operator}"}}')
    refused = refusal(record(1.0, "bad"))
    content = head(ir=ir) + RECORD + SERVED + line("refused", **asdict(refused))
    path = put(path_of(store), content)
    found, said = read_with_warnings(store)
    assert found == workload(ir=ir, served=(served(64),), refused=(refused,))
    assert len(said) == 1
    assert f"records refused: their IR calls external functions ({operator})" in said[0]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    # So it stays tuned, without a record: no warm run tunes again, none warns again.
    assert read_with_warnings(store) == (found, [])
    assert found is not None
    assert found.is_enough(64, None)


def test_the_ir_of_a_file_without_records_may_call_out(store: Store) -> None:
    put(path_of(store), head(ir=ir_of('"tirx.call_extern"')) + SERVED)
    found, said = read_with_warnings(store)
    assert found is not None
    assert said == []


def test_a_fallback_is_trusted_no_more_than_this_store(store: Store, tmp_path: Path) -> None:
    theirs = Store(root=tmp_path / "theirs")
    put(path_of(theirs), head(ir=ir_of('"tirx.call_extern"')) + RECORD)
    with pytest.warns(UserWarning, match="calls external functions"):
        found = read_workload(Store(root=store.root, fallbacks=(theirs.root,)), KEY, SHASH)
    assert found is not None
    assert found.records == ()


def from_work_dir(folder: Path, ir: str) -> list[Workload]:
    """Return what is taken in from a stock work_dir with this IR."""
    folder.mkdir()
    (folder / "database_workload.json").write_text(json.dumps([str(int(SHASH, 16)), ir]) + "\n")
    row = json.dumps([0, data(1e-3, "stock")])
    (folder / "database_tuning_record.json").write_text(row + "\n")
    return read_work_dir(folder)[0]


@pytest.mark.parametrize(
    "ir",
    ["no base64", ir_of('"tirx.call_extern"')],
)
def test_what_is_taken_in_from_a_work_dir_never_costs_the_records_known(
    store: Store, tmp_path: Path, ir: str
) -> None:
    known = workload(record(1e-3))
    add_to_workload(store, KEY, known)
    for taken_in in from_work_dir(tmp_path / "stock", ir):
        add_to_workload(store, KEY, taken_in)
    found, _ = read_with_warnings(store)
    assert found is not None
    assert record(1e-3) in found.records


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_no_other_encoding_hides_what_a_trace_brings(store: Store, encoding: str) -> None:
    bad = line("record", **{**asdict(record(1e-4)), "data": annotated("pragma_import_c", "\ud800")})
    text = bad.decode().rstrip("\n").replace("\\ud800", "\ud800")
    put(path_of(store), HEAD + RECORD + text.encode(encoding, "surrogatepass") + b"\n" + SERVED)
    found, said = read_with_warnings(store)
    assert found is not None
    assert [r.digest for r in found.records] == [record(1.0).digest]
    assert len(said) == 1
