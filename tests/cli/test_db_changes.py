"""`tvmtune db export`, `import`, `prune` and `sign`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.machine.fingerprint import fingerprint
from pytest_tvmtune.machine.installed_tvm import package_version
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.tuning.work_dirs import read_work_dir, write_work_dir
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload, stored_keys
from tests.support.sample_records import HEAD, KEY, SHASH, path_of, put, record, served, workload
from tests.support.sample_store import contents, days_ago, put_build, put_case, put_plan

Run = Callable[..., tuple[int, str, str]]
OTHER = "ff" * 8
ONE = workload(record(1e-3, "a"), record(2e-3, "b", cpu="other CPU"), served=(served(64),))
TWO = workload(record(3e-3, "c"), shash=OTHER, name="fused_relu")
NO_RECORDS = "tvmtune: the store has no records for this target: see `tvmtune db stats`\n"
THINNED = "removed 2 records, keeping at most 1 record of each workload for each CPU"


def real_work_dir(folder: Path) -> tuple[Any, Any]:
    """Make a work_dir as TVM does, with one real record; return the module and the database."""
    import tvm.script
    from tvm.s_tir import Schedule
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo
    from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord
    from tvm.script import ir as I  # noqa: N812
    from tvm.script import tirx as T  # noqa: N812

    mod = tvm.script.from_source(
        """
@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((64,), "float32"), b: T.Buffer((64,), "float32")):
        for i in T.serial(64):
            with T.sblock("b"):
                vi = T.axis.remap("S", [i])
                b[vi] = a[vi] + T.float32(1)
""",
        {"I": I, "T": T},
    )
    schedule = Schedule(mod)
    (loop,) = schedule.get_loops(schedule.get_sblock("b"))
    outer, _ = schedule.split(loop, [None, 8])
    schedule.annotate(outer, "pragma_auto_unroll_max_step", 16)
    folder.mkdir()
    database = JSONDatabase(work_dir=str(folder))
    database.commit_tuning_record(
        TuningRecord(
            schedule.trace,
            database.commit_workload(mod),
            [1e-3, 2e-3],
            tvm.target.Target({"kind": "llvm", "num-cores": 2}),
            ArgInfo.from_entry_func(mod, remove_preproc=False),
        )
    )
    return mod, database


def test_real_records_travel_from_tvm_into_the_store_and_back(
    store: Store, run: Run, tmp_path: Path
) -> None:
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    mod, database = real_work_dir(tmp_path / "stock")
    code, out, err = run("db", "import", tmp_path / "stock", "--target", "llvm")
    assert (code, err) == (0, "")
    ((key, shash),) = stored_keys(store)
    assert key.startswith(f"llvm-tvm{minor(package_version('tvm'))}-")
    assert out == f"imported 1 workload with 1 record for {key}\n"
    found = read_workload(store, key, shash)
    assert found is not None
    assert [(r.mean_s, r.cpu, r.cores) for r in found.records] == [(1.5e-3, "unknown", 0)]
    # Nothing is known to have been asked for, so that it doesn't count as tuned.
    assert not found.is_enough(1, None)

    code, out, _ = run("db", "export", tmp_path / "out")
    assert code == 0
    assert out == f"exported 1 workload with 1 record to {tmp_path / 'out'}\n"
    back = JSONDatabase(work_dir=str(tmp_path / "out"))
    assert back.has_workload(mod)
    (mine,), (theirs,) = (one.get_all_tuning_records() for one in (back, database))
    assert [str(s) for s in mine.run_secs] == [str(s) for s in theirs.run_secs]
    assert str(mine.trace) == str(theirs.trace)


def test_imported_here_is_measured_on_this_cpu(store: Store, run: Run, tmp_path: Path) -> None:
    write_work_dir(tmp_path / "stock", [(ONE, ONE.records)])
    assert run("db", "import", tmp_path / "stock", "--target", "llvm", "--measured-here")[0] == 0
    ((key, _),) = stored_keys(store)
    found = read_workload(store, key, SHASH)
    assert found is not None
    here = fingerprint()
    assert {(r.cpu, r.cores) for r in found.records} == {(here.cpu, here.usable_cores)}


def test_importing_keeps_what_is_known_and_tells_what_is_left_out(
    store: Store, run: Run, tmp_path: Path
) -> None:
    stock = tmp_path / "stock"
    write_work_dir(stock, [(ONE, ONE.records[:1]), (TWO, [])])
    run("db", "import", stock, "--target", "llvm")
    ((key, _),) = stored_keys(store)
    add_to_workload(store, key, workload(record(5e-4, "mine"), served=(served(64),)))
    with (stock / "database_tuning_record.json").open("a") as file:
        file.write("\n" + json.dumps([0, record(4e-3, "more").data]) + "\n")
    code, out, _ = run("db", "import", stock, "--target", "llvm")
    assert code == 0
    assert out.splitlines() == [
        "left out: database_tuning_record.json line 2 is damaged",
        f"imported 1 workload with 2 records for {key}",
    ]
    found = read_workload(store, key, SHASH)
    assert found is not None
    assert [r.mean_s for r in found.records if r.cpu == "this CPU"] == [5e-4]
    assert [r.mean_s for r in found.records if r.cpu == "unknown"] == [1e-3, 4e-3]
    assert found.name == "fused_matmul"
    assert found.is_enough(64, None)


def test_importing_makes_the_store(tmp_path: Path) -> None:
    write_work_dir(tmp_path / "stock", [(ONE, ONE.records)])
    arguments = ["db", "import", str(tmp_path / "stock"), "--target", "llvm"]
    assert main([*arguments, "--dir", str(tmp_path / "new")]) == 0
    assert len(list(stored_keys(Store(root=tmp_path / "new")))) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("absent", "llvm"), "absent is not a folder"),
        (("stock", "no-such-kind"), "--target: "),
        (("stock", ""), "--target: the target is empty"),
    ],
)
def test_an_import_that_can_not_be(
    store: Store, run: Run, tmp_path: Path, given: tuple[str, str], said: str
) -> None:
    (tmp_path / "stock").mkdir()
    work_dir, target = given
    code, out, err = run("db", "import", tmp_path / work_dir, "--target", target)
    assert (code, out) == (1, "")
    assert err.startswith("tvmtune: ")
    assert said in err
    assert list(stored_keys(store)) == []


def exported(folder: Path) -> dict[str, list[float]]:
    workloads, problems = read_work_dir(folder)
    assert problems == []
    return {one.shash: [record.mean_s for record in one.records] for one in workloads}


def test_only_workloads_with_records_are_exported(store: Store, run: Run, tmp_path: Path) -> None:
    for one in (ONE, TWO, workload(shash="0" * 16, served=(served(64),))):
        add_to_workload(store, KEY, one)
    code, out, _ = run("db", "export", tmp_path / "out")
    assert code == 0
    assert out == f"exported 2 workloads with 3 records to {tmp_path / 'out'}\n"
    assert exported(tmp_path / "out") == {SHASH: [1e-3, 2e-3], OTHER: [3e-3]}


def test_only_the_tasks_of_one_model_are_exported(store: Store, run: Run, tmp_path: Path) -> None:
    for one in (ONE, TWO):
        add_to_workload(store, KEY, one)
    put_plan(store, "mlp", OTHER, "0" * 16)
    put_plan(store, "cnn", SHASH)
    assert run("db", "export", tmp_path / "out", "--model", "mlp")[0] == 0
    assert exported(tmp_path / "out") == {OTHER: [3e-3]}
    code, _, err = run("db", "export", tmp_path / "none", "--model", "rnn")
    assert code == 1
    assert err == "tvmtune: the store has no model 'rnn'; its models: cnn, mlp\n"
    assert not (tmp_path / "none").exists()


def test_which_target_is_exported(store: Store, run: Run, tmp_path: Path) -> None:
    code, _, err = run("db", "export", tmp_path / "out")
    assert (code, err) == (1, NO_RECORDS)
    write_work_dir(tmp_path / "stock", [(ONE, ONE.records)])
    run("db", "import", tmp_path / "stock", "--target", "llvm")
    ((llvm, _),) = stored_keys(store)
    add_to_workload(store, "cuda-tvm0.27-0", TWO)
    code, _, err = run("db", "export", tmp_path / "out")
    assert code == 1
    assert err.endswith(f"several targets: choose one with --target: cuda-tvm0.27-0, {llvm}\n")
    code, _, err = run("db", "export", tmp_path / "out", "--target", "llvm -mcpu=skylake")
    assert (code, err) == (1, NO_RECORDS)
    assert not (tmp_path / "out").exists()
    # The cores change no code: the same target.
    assert run("db", "export", tmp_path / "out", "--target", "llvm -num-cores=3")[0] == 0
    assert exported(tmp_path / "out") == {SHASH: [1e-3, 2e-3]}


def test_an_export_to_a_damaged_work_dir_is_told_and_leaves_it(
    store: Store, run: Run, tmp_path: Path
) -> None:
    add_to_workload(store, KEY, ONE)
    put(tmp_path / "out" / "database_workload.json", b"\n")
    code, out, err = run("db", "export", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "was not changed: database_workload.json line 1 is damaged" in err
    assert contents(tmp_path / "out") == {"database_workload.json": b"\n"}


@pytest.fixture
def prunable(store: Store) -> Store:
    ledger = (served(64, at_s=days_ago(50)),)
    records = [record(n + 1.0, f"t{n}") for n in range(3)]
    add_to_workload(store, KEY, workload(*records, served=ledger))
    recent = workload(record(1.0), shash=OTHER, served=(served(64, at_s=days_ago(1)),))
    add_to_workload(store, KEY, recent)
    add_to_workload(store, "llvm-tvm0.1-0", recent)
    put_plan(store, "mlp", SHASH)
    return store


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--older-than", "30"], {(KEY, SHASH)}),
        (["--older-than", "60"], set()),
        (["--unreferenced"], {(KEY, OTHER), ("llvm-tvm0.1-0", OTHER)}),
        (["--other-tvm"], {("llvm-tvm0.1-0", OTHER)}),
        (["--older-than", "30", "--other-tvm"], {(KEY, SHASH), ("llvm-tvm0.1-0", OTHER)}),
    ],
)
def test_pruning_by_each_rule(
    prunable: Store, run: Run, arguments: list[str], gone: set[tuple[str, str]]
) -> None:
    every = set(stored_keys(prunable))
    before = contents(prunable.root)
    code, told, err = run("db", "prune", *arguments, "--dry-run")
    assert (code, err) == (0, "")
    assert contents(prunable.root) == before
    for key, shash in gone:
        assert f"{prunable.tuning / key / shash}.jsonl  (" in told
    assert told.splitlines()[-1].startswith(f"would remove {len(gone)} path")
    code, out, _ = run("db", "prune", *arguments)
    assert code == 0
    assert out == told.replace("would remove", "removed")
    assert set(stored_keys(prunable)) == every - gone


def test_pruning_records_beyond_the_best(prunable: Store, run: Run) -> None:
    before = contents(prunable.root)
    assert run("db", "prune", "--keep", "1", "--dry-run")[0] == 0
    assert contents(prunable.root) == before
    code, out, _ = run("db", "prune", "--keep", "1")
    assert code == 0
    assert out.splitlines() == ["removed 0 paths, 0 B", THINNED]
    found = read_workload(prunable, KEY, SHASH)
    assert found is not None
    assert [r.mean_s for r in found.records] == [1.0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "choose the records to remove: --older-than, --unreferenced, --other-tvm, or"),
        (["--dry-run"], "choose the records to remove"),
        (["--keep", "0"], "--keep 0: give at least 1"),
        (["--keep", "-1"], "--keep -1: give at least 1"),
    ],
)
def test_pruning_without_a_sound_rule_is_an_error(
    prunable: Store, run: Run, arguments: list[str], said: str
) -> None:
    before = contents(prunable.root)
    code, out, err = run("db", "prune", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: {said}")
    assert contents(prunable.root) == before


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "x", "", "1e7"])
def test_days_that_are_no_number_are_wrong_usage(
    prunable: Store, run: Run, days: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("db", "prune", f"--older-than={days}")
    assert caught.value.code == 2
    assert f"{days!r} is not a number of days" in capsys.readouterr().err


def test_a_damaged_file_is_exported_with_its_valid_lines(
    store: Store, run: Run, tmp_path: Path
) -> None:
    add_to_workload(store, KEY, ONE)
    put(path_of(store), path_of(store).read_bytes() + b"garbage\n")
    put(path_of(store, OTHER), HEAD)
    with pytest.warns(UserWarning, match="was renamed to"):
        assert run("db", "export", tmp_path / "out")[0] == 0
    assert exported(tmp_path / "out") == {SHASH: [1e-3, 2e-3]}


@pytest.fixture
def unsigned(store: Store) -> Store:
    """A store of seven files to be signed, and a plan, which isn't."""
    for one in (ONE, TWO):
        add_to_workload(store, KEY, one)
    put_build(store, "b", put_case(store).artifact)
    put_plan(store, "mlp", SHASH)
    return store


def test_signing_makes_an_unsigned_store_usable(
    unsigned: Store, run: Run, use_key: Callable[[str], None]
) -> None:
    use_key("ours")
    code, out, _ = run("db", "verify")
    assert code == 1
    assert out.count("not signed, although TVMTUNE_KEY is set") == 6
    assert run("db", "sign") == (0, "signed 7 files\n", "")
    assert run("db", "verify") == (0, "the store has no problems\n", "")
    assert read_workload(unsigned, KEY, SHASH) == ONE
    # Again, or without a key, all is as it is.
    before = contents(unsigned.root)
    assert run("db", "sign") == (0, "signed 7 files\n", "")
    use_key("")
    assert run("db", "verify") == (0, "the store has no problems\n", "")
    assert contents(unsigned.root) == before
    use_key("theirs")
    assert run("db", "verify")[0] == 1


def test_signing_leaves_out_what_is_damaged_with_exit_code_1(
    unsigned: Store, run: Run, use_key: Callable[[str], None]
) -> None:
    records = put(path_of(unsigned), path_of(unsigned).read_bytes() + b"garbage\n")
    baseline = put(unsigned.baselines / "x.json", b'{"schema": 1}')
    library = next(unsigned.artifacts.glob("*/model.so"))
    library.write_bytes(b"damaged")
    damaged = [records, library.with_name("manifest.json"), baseline]
    before = [path.read_bytes() for path in damaged]
    use_key("ours")
    code, out, err = run("db", "sign")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"left out: {records}: line 5: not a line of a tuning file",
        f"left out: {damaged[1]}: its library is damaged",
        f"left out: {baseline}: not a baseline of schema 2",
        "signed 5 files",
    ]
    assert [path.read_bytes() for path in damaged] == before


def test_signing_without_a_key_is_exit_code_1_and_changes_nothing(
    unsigned: Store, run: Run
) -> None:
    before = contents(unsigned.root)
    said = "tvmtune: no key is set; set the environment variable TVMTUNE_KEY\n"
    assert run("db", "sign") == (1, "", said)
    assert contents(unsigned.root) == before


def test_signing_an_empty_store_and_none(
    store: Store, run: Run, use_key: Callable[[str], None], tmp_path: Path
) -> None:
    use_key("ours")
    assert run("db", "sign") == (0, "signed 0 files\n", "")
    assert main(["db", "sign", "--dir", str(tmp_path / "absent")]) == 1
    assert not (tmp_path / "absent").exists()


def test_what_is_changed_with_a_key_is_signed(
    prunable: Store, run: Run, use_key: Callable[[str], None], tmp_path: Path
) -> None:
    use_key("ours")
    run("db", "sign")
    assert run("db", "prune", "--keep", "1")[1].endswith(f"{THINNED}\n")
    assert run("db", "prune", "--other-tvm")[1].startswith(f"{prunable.tuning / 'llvm-tvm0.1-0'}")
    write_work_dir(tmp_path / "stock", [(ONE, ONE.records)])
    assert run("db", "import", tmp_path / "stock", "--target", "llvm")[0] == 0
    assert run("db", "verify") == (0, "the store has no problems\n", "")


def test_with_a_key_what_it_did_not_sign_is_neither_shown_nor_exported(
    unsigned: Store, run: Run, use_key: Callable[[str], None], tmp_path: Path
) -> None:
    use_key("ours")
    assert run("db", "show", SHASH)[0] == 1
    with pytest.warns(UserWarning, match="not signed, although TVMTUNE_KEY is set"):
        code, out, _ = run("db", "export", tmp_path / "out")
    assert code == 0
    assert out == f"exported 0 workloads with 0 records to {tmp_path / 'out'}\n"
