"""The modules of `tvm_setup`: how they are imported, and which files they consist of."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_tvmtune.core.errors import EnvironmentProblemError
from pytest_tvmtune.processes.setup_modules import setup_files, setup_in_use, use_setup
from pytest_tvmtune.relax.installation.toolchain_identity import setup_identity
from pytest_tvmtune.store.layout import open_store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    use_setup([])
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def used(folder: Path, registering: Sequence[Path] = ()) -> set[str]:
    return {
        path.relative_to(folder.resolve()).as_posix()
        for path in setup_files([str(path) for path in registering])
    }


def test_all_that_a_module_imports_of_the_users_own(folder: Path) -> None:
    write(
        folder,
        setup_a="import json, numpy, pytest\nimport setup_b\nfrom setup_space.deep import x",
        setup_b="def later():\n    import setup_pack.one\n    open('setup.so'), open('none.so')",
        setup_pack__one="from . import two",
        setup_pack__two="",
        setup_pack__sub__three="import setup_c",
        setup_c="",
        setup_space__deep="x = 1",
        setup_space__other="",
        setup_unused="",
    )
    (folder / "setup_pack" / "__init__.py").touch()
    (folder / "setup.so").touch()
    use_setup(["setup_a"])
    assert setup_in_use() == ["setup_a"]
    assert used(folder) == {
        "setup.so",
        "setup_a.py",
        "setup_b.py",
        "setup_c.py",
        "setup_pack/__init__.py",
        "setup_pack/one.py",
        "setup_pack/two.py",
        "setup_pack/sub/three.py",
        "setup_space/deep.py",
    }


def test_their_content_is_their_identity(folder: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert setup_identity(store) == ""
    write(folder, setup_d="import setup_e", setup_e="x = 1", setup_f="")
    use_setup(["setup_d"])
    one = setup_identity(store)
    write(folder, setup_e="x = 2")
    assert setup_identity(store) == one  # what this process has imported is what it has
    use_setup(["setup_d", "setup_f"])
    more = setup_identity(store)
    use_setup(["setup_f", "setup_d"])  # a later one may override what an earlier one registers
    assert len({one, more, setup_identity(store)}) == 3


def test_what_is_installed_counts_where_it_is_named_or_registers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tox installs what it tests."""
    installed = folder / "lib" / "site-packages"
    write(
        installed,
        setup_named__ops="from . import deep\nimport setup_registers, setup_other",
        setup_named__deep="",
        setup_registers__ops="",
        setup_other__ops="",
        setup_single="",
        setup_useless="",
    )
    for package in ("setup_named", "setup_other"):
        (installed / package / "__init__.py").touch()
    (installed / "setup_registers" / "__init__.py").write_text("from . import ops")
    write(folder, setup_own="import setup_single, setup_useless")
    monkeypatch.syspath_prepend(installed)
    registering = (installed / "setup_registers" / "ops.py", installed / "setup_single.py")
    use_setup(["setup_named.ops", "setup_own"])
    below = "lib/site-packages"
    assert used(folder, registering) == {
        "setup_own.py",
        f"{below}/setup_named/__init__.py",
        f"{below}/setup_named/deep.py",
        f"{below}/setup_named/ops.py",
        f"{below}/setup_registers/__init__.py",
        f"{below}/setup_registers/ops.py",
        f"{below}/setup_single.py",
    }


def test_a_file_is_imported_once_under_its_own_name(folder: Path) -> None:
    write(folder, setup_g="import sys\nsys.setup_g = getattr(sys, 'setup_g', 0) + 1")
    use_setup([str(folder / "setup_g.py")])
    import setup_g  # type: ignore[import-not-found]

    use_setup([str(folder / "setup_g.py"), "setup_g"])
    assert sys.setup_g == 1  # type: ignore[attr-defined]
    assert Path(setup_g.__file__) == folder / "setup_g.py"
    assert used(folder) == {"setup_g.py"}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("setup_missing", "ModuleNotFoundError: No module named 'setup_missing'"),
        ("setup_bad", r"SyntaxError: .*setup_bad.py:1"),
        ("setup_raises", r"ZeroDivisionError: .*setup_raises.py:2"),
        ("setup_exits", "SystemExit: 3"),
        ("FOLDER/none.py", "the file does not exist"),
        ("FOLDER/setup_pack2/inner.py", "give its dotted name"),
        ("FOLDER/json.py", "another module has the name json"),
    ],
)
def test_one_that_cannot_be_imported_says_why(folder: Path, module: str, message: str) -> None:
    write(
        folder,
        setup_bad="x = = 1",
        setup_raises="y = 0\nx = 1 / y",
        setup_exits="raise SystemExit(3)",
        setup_pack2__inner="",
        json="",
    )
    (folder / "setup_pack2" / "__init__.py").touch()
    with pytest.raises(EnvironmentProblemError, match=message) as caught:
        use_setup([module.replace("FOLDER", str(folder))])
    assert str(caught.value).startswith("tvm_setup: can't import ")
    assert "\n" not in str(caught.value)
