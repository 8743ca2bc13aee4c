"""`tvmtune baselines`: what was accepted, and how it is carried to another store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.cli import main
from pytest_tvmtune.store.accepted.baseline_files import records_path, write_anchor, write_baseline
from pytest_tvmtune.store.layout import Store, open_store
from tests.support.sample_records import KEY, put, record, workload
from tests.support.sample_store import IDENTITY, contents, put_artifact, put_baseline, put_case

Run = Callable[..., tuple[int, str, str]]
HEADINGS = ["test", "target", "prepack", "latency", "accepted", "anchor", "TVM", "artifact"]


def cells(line: str) -> list[str]:
    """Return the cells of a table's line, which stand at least two blanks apart."""
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def known(store: Store) -> Store:
    """Two baselines, one of them with an anchor."""
    put_case(store)
    cnn = put_case(
        store, code=b"cnn", path="sub/test_cnn.py", cls="TestCnn", function="test_cnn",
        params="8-f32", name="second", target_name="host", prepack=True,
    )  # fmt: skip
    older = put_artifact(store, b"older").name
    write_anchor(store, replace(cnn, artifact=older, accepted_at="2023-01-01T00:00:00Z"))
    return store


def test_one_line_for_each_baseline(known: Store, run: Run) -> None:
    before = contents(known.root)
    code, out, err = run("baselines", "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [cells(line) for line in lines] == [
        HEADINGS,
        ["sub/test_cnn.py::TestCnn::test_cnn[8-f32] second", "host", "yes", "2 ms",
         "2024-01-01T00:00:00Z", "2023-01-01T00:00:00Z", "0.27.0", "in the store"],
        ["test_mlp.py::test_mlp", "llvm", "no", "2 ms", "2024-01-01T00:00:00Z", "-", "0.27.0",
         "in the store"],
    ]  # fmt: skip
    # Numbers stand below each other's ends.
    assert len({line.index("2 ms") for line in lines[1:]} | {lines[0].index("latency") + 3}) == 1
    assert contents(known.root) == before


@pytest.mark.parametrize(
    ("identity", "told"),
    [({"name": "mlp"}, "test_mlp.py::test_mlp"),
     ({"name": "decoder"}, "test_mlp.py::test_mlp decoder"),
     ({"params": "a-b"}, "test_mlp.py::test_mlp[a-b]"),
     ({"cls": "A.B", "path": "x/y/test_z.py"}, "x/y/test_z.py::A.B::test_mlp")],
)  # fmt: skip
def test_a_test_is_told_as_pytest_does(
    store: Store, run: Run, identity: dict[str, Any], told: str
) -> None:
    put_case(store, **identity)
    assert cells(run("baselines", "list")[1].splitlines()[1])[0] == told


@pytest.mark.parametrize("which", ["artifact", "untuned"])
def test_an_artifact_that_is_not_there_is_told(store: Store, run: Run, which: str) -> None:
    digest = getattr(put_case(store), which)
    library = store.artifacts / digest / "model.so"
    library.write_bytes(b"damaged")
    code, out, _ = run("baselines", "list")
    assert code == 0
    assert out.splitlines()[1].endswith(
        f"artifact {digest[:12]} is damaged (its bytes have another SHA-256)"
    )
    library.unlink()
    assert run("baselines", "list")[1].endswith(f"artifact {digest[:12]} is missing\n")
    assert f"  artifact {digest[:12]} is missing\n" in run("baselines", "show", "mlp")[1]


def listed(run: Run, *names: str) -> list[str]:
    code, out, err = run("baselines", "list", *names)
    assert (code, err) == (0, "")
    return [cells(line)[0].partition("::")[0] for line in out.splitlines()[1:]]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["mlp"], ["test_mlp.py"]),
        (["test_"], ["sub/test_cnn.py", "test_mlp.py"]),
        (["sub/test_cnn.py"], ["sub/test_cnn.py"]),
        (["TestCnn::test_cnn[8"], ["sub/test_cnn.py"]),
        (["second"], ["sub/test_cnn.py"]),
        (["host-prepack-"], ["sub/test_cnn.py"]),
        (["mlp-llvm-"], ["test_mlp.py"]),
        (["mlp", "cnn"], ["sub/test_cnn.py", "test_mlp.py"]),
        (["mlp", "mlp"], ["test_mlp.py"]),
    ],
)
def test_a_name_is_part_of_the_files_or_of_the_tests(
    known: Store, run: Run, names: list[str], found: list[str]
) -> None:
    assert listed(run, *names) == found


COMMANDS = [["list"], ["show"], ["anchor"], ["export", "{file}"]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("names", [["rnn"], ["rnn", "MLP"], ["test_*"]])
def test_names_that_match_nothing_are_exit_code_1(
    known: Store, run: Run, tmp_path: Path, command: list[str], names: list[str]
) -> None:
    arguments = [part.format(file=tmp_path / "out.zip") for part in command]
    code, out, err = run("baselines", *arguments, *names)
    assert (code, out) == (1, "")
    assert err == (
        f"tvmtune: {known.root} has no baseline named {' or '.join(names)}: "
        "see `tvmtune baselines list`\n"
    )
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_name_must_match_something(
    known: Store, run: Run, tmp_path: Path, command: list[str]
) -> None:
    arguments = [part.format(file=tmp_path / "out.zip") for part in command]
    code, out, err = run("baselines", *arguments, "mlp", "rnn")
    assert (code, out) == (1, "")
    assert "rnn" in err
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("command", [["list"], ["export", "{file}"]])
def test_a_store_without_baselines_is_exit_code_1(
    store: Store, run: Run, tmp_path: Path, command: list[str]
) -> None:
    arguments = [part.format(file=tmp_path / "out.zip") for part in command]
    code, out, err = run("baselines", *arguments)
    assert (code, out, err) == (
        1,
        "",
        f"tvmtune: {store.root} has no baselines: accept one with --tvm-update-new\n",
    )
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("command", [["list"], ["show", "x"], ["export", "x.zip"]])
def test_a_folder_that_is_no_store_is_not_made_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(["baselines", *command, "--dir", str(tmp_path / "absent")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"tvmtune: {tmp_path / 'absent'} is not a store: give its folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_known_of_a_baseline(store: Store, run: Run) -> None:
    case = put_case(store)
    records = [
        (KEY, workload(record(2.5e-4, "a"), record(9.0, "b"), name="fused_matmul")),
        (KEY, workload(shash="ff" * 8, name="fused_relu")),
    ]
    write_baseline(store, case, records)
    before = contents(store.root)
    code, out, err = run("baselines", "show", "mlp")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        case.identity.file_name,
        "  test       test_mlp.py::test_mlp, entry main",
        '  target     {"kind": "llvm"}',
        "  accepted   2024-01-01T00:00:00Z",
        "  anchor     none",
        f"  artifact   {case.artifact}  in the store",
        f"  untuned    {case.untuned}",
        "  latency    2 ms, median of 3 samples from 1 ms to 4 ms, 4 threads",
        "  machine    a CPU; TVM 0.27.0, tvm-ffi 0.1.14",
        "  records    2",
        "      250 us  00ab00ab00ab00ab  fused_matmul",
        f"           -  {'ff' * 8}  fused_relu",
    ]
    assert contents(store.root) == before


def test_a_name_shows_every_baseline_that_it_is_part_of(known: Store, run: Run) -> None:
    out = run("baselines", "show", "test")[1]
    assert [line for line in out.splitlines() if not line.startswith(" ")] == sorted(
        path.name for path in known.baselines.glob("*.json")
    )


def test_a_baseline_without_records_has_none(store: Store, run: Run) -> None:
    records_path(store, put_case(store).identity.file_name).unlink()
    assert run("baselines", "show", "mlp")[1].endswith("\n  records    0\n")


def test_damaged_records_are_exit_code_1_and_the_file_is_named(store: Store, run: Run) -> None:
    path = records_path(store, put_case(store).identity.file_name)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = run("baselines", "show", "mlp")
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: {path}: not a gzip file: ")
    assert run("baselines", "list")[0] == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": 1}', b"<<<<<<< HEAD\n", b"\xff"]
)
@pytest.mark.parametrize("command", [["list", "mlp"], ["show", "mlp"], ["export", "{file}", "mlp"]])
def test_a_damaged_baseline_is_exit_code_1_and_the_file_is_named(
    known: Store, run: Run, tmp_path: Path, command: list[str], content: bytes
) -> None:
    path = put(known.baselines / "x.json", content)
    arguments = [part.format(file=tmp_path / "out.zip") for part in command]
    code, out, err = run("baselines", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: {path}: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize(
    "values",
    [{"path": 5}, {"cls": ["TestCnn"]}, {"function": 5}, {"target_name": None}, {"name": 5}],
)
def test_an_identity_that_can_not_be_is_damage_too(
    store: Store, run: Run, values: dict[str, object]
) -> None:
    path = store.baselines / put_case(store).identity.file_name
    loaded = json.loads(path.read_bytes())
    path.write_text(json.dumps({**loaded, "identity": {**asdict(IDENTITY), **values}}))
    code, _, err = run("baselines", "list")
    assert code == 1
    assert err.startswith(f"tvmtune: {path}: damaged baseline: ")


def test_a_time_that_is_no_text_is_damage_too(store: Store, run: Run) -> None:
    path = store.baselines / put_case(store).identity.file_name
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "accepted_at": 5}))
    code, _, err = run("baselines", "list")
    assert code == 1
    assert err.startswith(f"tvmtune: {path}: damaged baseline: ")
    assert "`$.accepted_at`" in err


def test_baselines_become_anchors(known: Store, run: Run) -> None:
    """Also where there is an older anchor; which baselines they are, their names say."""
    code, out, err = run("baselines", "anchor", "cnn")
    assert (code, err) == (0, "")
    name = next(path.name for path in known.baselines.glob("test_cnn-*.json"))
    assert out.splitlines() == [name, "anchored 1 baseline"]
    plain = json.loads(run("baselines", "list", "--json")[1])
    assert [one["anchor_accepted_at"] for one in plain] == ["2024-01-01T00:00:00Z", None]
    assert run("baselines", "anchor")[1].endswith("\nanchored 2 baselines\n")
    assert "  anchor     2024-01-01T00:00:00Z\n" in run("baselines", "show", "mlp")[1]


def test_a_baseline_without_its_artifact_becomes_no_anchor(store: Store, run: Run) -> None:
    """And no other of the same command does: all are checked before one is written."""
    case = put_case(store, code=b"second", name="zzz")
    put_case(store)
    (store.artifacts / case.artifact / "model.so").unlink()
    code, out, err = run("baselines", "anchor")
    assert (code, out) == (1, "")
    assert err == (
        f"tvmtune: {case.identity.file_name}: artifact {case.artifact[:12]} is missing; "
        "accept it again with --tvm-update\n"
    )
    assert not store.anchors.exists()


def test_a_damaged_anchor_is_exit_code_1_and_the_file_is_named(known: Store, run: Run) -> None:
    (path,) = known.anchors.glob("*.json")
    path.write_bytes(b"{")
    for command in (["list"], ["show", "cnn"], ["export", "out.zip", "cnn"]):
        code, out, err = run("baselines", *command)
        assert (code, out) == (1, "")
        assert path.name in err


def carried(run: Run, file: Path, target: Path, *names: str) -> str:
    assert run("baselines", "export", file, *names)[0] == 0
    assert main(["baselines", "import", str(file), "--dir", str(target)]) == 0
    return str(target)


def test_exported_and_imported_into_a_store_that_is_made_for_it(
    known: Store, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = tmp_path / "out.zip", tmp_path / "target"
    code, out, err = run("baselines", "export", file)
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"exported 2 baselines to {file} \([\d.]+ kB\)\n", out)
    assert main(["baselines", "import", str(file), "--dir", str(target)]) == 0
    out = capsys.readouterr().out
    names = sorted(path.name for path in known.baselines.glob("*.json"))
    assert out.splitlines() == [*names, "imported 2 baselines"]
    assert contents(target) == contents(known.root)
    # There they are found, sound, and stay.
    assert main(["db", "verify", "--dir", str(target)]) == 0
    assert main(["gc", "--older-than=0", "--max-size", "0", "--dir", str(target)]) == 0
    assert contents(target) == contents(known.root)


def test_only_what_was_named_is_exported(known: Store, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.zip"
    code, out, _ = run("baselines", "export", file, "cnn")
    assert code == 0
    assert out.startswith(f"exported 1 baseline to {file} (")
    main(["baselines", "import", str(file), "--dir", str(tmp_path / "target")])
    (path,) = (tmp_path / "target" / "baselines").glob("*.json")
    assert path.name.startswith("test_cnn-TestCnn-test_cnn-8-f32-second-host-prepack-")


def test_exporting_again_writes_the_same_bytes(known: Store, run: Run, tmp_path: Path) -> None:
    for name in ("1.zip", "2.zip"):
        assert run("baselines", "export", tmp_path / name)[0] == 0
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_an_import_replaces_what_is_here(store: Store, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out.zip"
    newer = put_case(store, code=b"newer")
    run("baselines", "export", file)
    older = put_case(store, code=b"older")
    assert f"artifact   {older.artifact}" in run("baselines", "show", "mlp")[1]
    code, out, _ = run("baselines", "import", file)
    assert code == 0
    assert out == f"{newer.identity.file_name}\nimported 1 baseline\n"
    assert f"artifact   {newer.artifact}" in run("baselines", "show", "mlp")[1]
    assert len(listed(run)) == 1


def test_an_export_of_what_is_not_whole_is_exit_code_1(
    store: Store, run: Run, tmp_path: Path
) -> None:
    case = put_case(store)
    (store.artifacts / case.untuned / "model.so").unlink()
    code, out, err = run("baselines", "export", tmp_path / "out.zip")
    assert (code, out) == (1, "")
    assert err == (
        f"tvmtune: {case.identity.file_name}: artifact {case.untuned[:12]} is missing; "
        "accept it again with --tvm-update\n"
    )
    assert not (tmp_path / "out.zip").exists()
    # What is whole can be exported by its name.
    put_case(store, code=b"other", function="test_other")
    put_baseline(store, case.artifact, "third")
    (store.artifacts / case.untuned / "model.so").unlink()
    code, _, err = run("baselines", "export", tmp_path / "out.zip", "third")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("content", [None, b"", b"no zip\n", b"PK\x03\x04"])
def test_an_import_of_no_file_of_baselines_is_exit_code_1_and_changes_nothing(
    known: Store, run: Run, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "in.zip"
    if content is not None:
        file.write_bytes(content)
    before = contents(known.root)
    code, out, err = run("baselines", "import", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: can't read {file}: ")
    assert len(err.splitlines()) == 1
    assert contents(known.root) == before


def test_an_import_of_what_is_truncated_is_exit_code_1_and_changes_nothing(
    known: Store, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "in.zip"
    run("baselines", "export", file)
    file.write_bytes(file.read_bytes()[:-30])
    before = contents(known.root)
    code, out, err = run("baselines", "import", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"tvmtune: can't read {file}: ")
    assert contents(known.root) == before


def test_an_import_that_can_not_be_makes_no_store(tmp_path: Path) -> None:
    file = put(tmp_path / "in.zip", b"no zip\n")
    assert main(["baselines", "import", str(file), "--dir", str(tmp_path / "target")]) == 1
    assert not (tmp_path / "target").exists()


def test_an_import_into_what_is_no_folder_is_exit_code_1(
    known: Store, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("baselines", "export", tmp_path / "out.zip")
    put(tmp_path / "target", b"precious")
    arguments = ["baselines", "import", str(tmp_path / "out.zip")]
    assert main([*arguments, "--dir", str(tmp_path / "target")]) == 1
    assert f"{tmp_path / 'target'} is a file, not a folder" in capsys.readouterr().err
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_with_a_key_what_it_did_not_sign_is_neither_listed_nor_carried(
    known: Store, run: Run, tmp_path: Path, use_key: Callable[[str], None]
) -> None:
    file = tmp_path / "out.zip"
    run("baselines", "export", file)
    target = open_store(tmp_path / "target")
    before = contents(target.root)
    use_key("ours")
    for command in (["list"], ["show", "mlp"], ["export", tmp_path / "again.zip"]):
        code, out, err = run("baselines", *command)
        assert (code, out) == (1, "")
        assert err.endswith(".json: not signed, although TVMTUNE_KEY is set\n")
    assert not (tmp_path / "again.zip").exists()
    assert main(["baselines", "import", str(file), "--dir", str(target.root)]) == 1
    assert contents(target.root) == before
    # Whoever trusts them signs them, and then all is as it was.
    assert run("db", "sign")[0] == 0
    assert listed(run) == ["sub/test_cnn.py", "test_mlp.py"]
    carried(run, file, target.root)
    assert contents(target.root) == contents(known.root)
