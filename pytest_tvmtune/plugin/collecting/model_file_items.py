"""ONNX files as tests: their collection, their items, and their checks."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tvmtune.core.comparing.tolerances import ComparisonOptions
from pytest_tvmtune.core.errors import OptionError, counted
from pytest_tvmtune.core.settings.model_file_patterns import (
    SUFFIX,
    case_name,
    matches,
    sidecar_path,
)
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.core.settings.sidecar import (
    DATA_SETS,
    ONNXRUNTIME,
    UNTUNED,
    Sidecar,
)
from pytest_tvmtune.plugin.attempts import begin, conclude
from pytest_tvmtune.plugin.collecting.baseline_identity import path_of
from pytest_tvmtune.plugin.collecting.item_variants import ItemVariant, item_choices
from pytest_tvmtune.plugin.collecting.marks import marks_of, merged_arguments, rechosen, wrong_mark
from pytest_tvmtune.plugin.reporting import MODEL_FOLDERS
from pytest_tvmtune.plugin.state import STATE, ItemOrigin, State, is_worker
from pytest_tvmtune.store.model_files import data_sets, own_data_sets, read_sidecar

if TYPE_CHECKING:
    from pytest_tvmtune.stages.case_run import Check


def collect_model_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect an ONNX file that the command line names, or that `tvm_collect` selects."""
    state = parent.config.stash[STATE]
    if parent.session.isinitpath(file_path) or _is_meant(file_path, parent.config, state):
        collector: pytest.Collector = ModelFile.from_parent(parent, path=file_path)
        return collector
    return None


def _is_meant(path: Path, config: pytest.Config, state: State) -> bool:
    patterns = state.run.collect
    if patterns is not None:
        return matches(path, patterns)
    for folder in state.model_folders:
        if path.is_relative_to(folder) and not _has_python(folder, config, state):
            return True
    state.left_alone.append(path)
    return False


def model_folders(config: pytest.Config) -> tuple[Path, ...]:
    """Return the folders below which ONNX files are tests by default, unless they have Python.

    These are the folders on the command line. Without arguments and testpaths, it's the current
    folder.
    """
    if is_worker(config):
        sent: list[str] = getattr(config, "workerinput", {}).get(MODEL_FOLDERS, [])
        return tuple(map(Path, sent))
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        return ()
    # Not resolve(): pytest, too, leaves symbolic links as they are.
    paths = (
        Path(os.path.abspath(config.invocation_params.dir / arg.partition("::")[0]))  # noqa: PTH100
        for arg in config.args
    )
    return tuple(path for path in paths if path.is_dir())


def _has_python(folder: Path, config: pytest.Config, state: State) -> bool:
    """Whether a folder has a Python file, at any depth that pytest collects."""
    known = state.has_python.get(folder)
    if known is None:
        skipped = config.getini("norecursedirs")
        known = any(
            name.endswith(".py") for name in _file_names(folder, skipped, state.run.store_dir)
        )
        state.has_python[folder] = known
    return known


def _file_names(folder: Path, skipped: list[str], store: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        yield from names
        folders[:] = [
            name
            for name in folders
            if not any(fnmatch.fnmatch(name, pattern) for pattern in skipped)
            and not Path(root, name, "pyvenv.cfg").exists()
            and Path(root, name) != store  # reproducers are Python
        ]


def left_alone_lines(config: pytest.Config) -> list[str]:
    """Return a note on the ONNX files that no rule makes tests."""
    files = config.stash[STATE].left_alone
    if not files:
        return []
    return [
        (
            f"tvmtune: {counted(len(files), 'ONNX file')} not collected, such as "
            f"{os.path.relpath(files[0])}: Python files are in the same folder or around it, or "
            "the command line doesn't name the folder; to collect them, use "
            f"--tvm-collect='*{SUFFIX}', or tvm_collect in the ini file"
        )
    ]


class ModelFile(pytest.File):
    """An ONNX file with its sidecar. Collecting it needs neither tvm nor onnx."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for each target and prepack choice. Raises CollectError."""
        path = sidecar_path(self.path)
        name = case_name(self.path)
        try:
            sidecar = read_sidecar(self.path)
            _check_expected(sidecar, self.path)
            for choice in item_choices(self.config.stash[STATE].run, sidecar.options):
                called = f"{name}[{choice.id}]"
                # pytest 9 needs the whole id, since the name has brackets.
                item = ModelItem.from_parent(
                    self,
                    name=called,
                    nodeid=f"{self.nodeid}::{called}",
                    choice=choice,
                    sidecar=sidecar,
                )
                for mark in _marks(sidecar, choice):
                    item.add_marker(mark)
                yield item
        except OptionError as error:
            shown = os.path.relpath(path, self.config.rootpath)
            raise self.CollectError(f"{shown}: {error}") from None


def _check_expected(sidecar: Sidecar, model: Path) -> None:
    if sidecar.expected == DATA_SETS and not data_sets(model.parent):
        raise OptionError(f"expected: no folder {DATA_SETS}_0 exists next to {model.name}")


def _marks(sidecar: Sidecar, choice: ItemVariant) -> Iterator[pytest.MarkDecorator]:
    for name in sidecar.marks:
        try:
            mark = getattr(pytest.mark, name)
        except pytest.fail.Exception as unknown:  # with --strict-markers
            raise OptionError(f"marks: {unknown}") from None
        yield mark
    if reason := sidecar.skip or choice.left_out:
        yield pytest.mark.skip(reason=reason)
    if sidecar.xfail:
        yield pytest.mark.xfail(reason=sidecar.xfail)


class ModelItem(pytest.Item):
    """A test of a model file, for a target and a prepack choice, with every check that applies.

    options: None if the targets of this run leave the file out.
    """

    def __init__(self, *, choice: ItemVariant, sidecar: Sidecar, **node: Any) -> None:
        super().__init__(**node)
        self.options: CaseOptions | None = choice.options
        self.sidecar = sidecar

    def runtest(self) -> None:
        """Tune, compile, and run the model. Then fail once with all findings."""
        from pytest_tvmtune.plugin.run import make_checks
        from pytest_tvmtune.plugin.tune_fixture import tvm_tune_of
        from pytest_tvmtune.stages import pipeline

        sidecar = os.path.relpath(sidecar_path(self.path), self.config.rootpath)
        origin = ItemOrigin(
            nodeid=self.nodeid,
            path=self.path,
            identity_path=path_of(self),
            name=case_name(self.path),
            sidecar=sidecar,
        )
        state = begin(self, self._marked_options(), origin)
        tvm_tune = tvm_tune_of(self, state)
        found = own_data_sets(self.path, self.sidecar)
        given = self.sidecar.inputs
        expected = self.sidecar.expected or _first_reference([] if given else found)
        tvm_tune(self.path, shapes=self.sidecar.shapes, inputs=given or next(iter(found), None))
        case_run, comparison = state.runs[-1], ComparisonOptions()
        numbers: Check = partial(
            pipeline.check_outputs,
            expected=None if expected == UNTUNED else expected,
            comparison=comparison,
        )
        if expected == DATA_SETS:
            numbers = partial(pipeline.check_data_sets, folders=found)
        make_checks(case_run, *pipeline.all_checks(case_run, numbers, comparison))
        if not case_run.result.errors:
            case_run.warn(
                "its outputs were compared with nothing, because this is the untuned, unpacked "
                "build itself; install onnxruntime, or put a folder test_data_set_0 next to the "
                "model",
            )
        conclude(self, state)

    def _marked_options(self) -> CaseOptions:
        """Return the options with markers from a conftest. The sidecar takes precedence."""
        made = self.options
        assert made is not None, "what is left out is skipped"
        marks = marks_of(self)
        if not marks:
            return made
        before = self.sidecar.options
        try:
            now = {**merged_arguments(marks, self.config), **before}
            options = rechosen(self.config.stash[STATE].run, before, now, made)
        except OptionError as error:
            raise wrong_mark(self, error) from None
        assert options is not None, "the same items are made"
        return options

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the heading of a failure, with the line number that pytest needs for a skip."""
        return self.path, 0, self.name


def _first_reference(found: list[Path]) -> str:
    from pytest_tvmtune.relax.importing.onnx.onnxruntime_session import can_run

    if found:
        return DATA_SETS
    return ONNXRUNTIME if can_run() else UNTUNED
