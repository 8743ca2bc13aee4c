"""Collection: marked test functions become items; what all items of a run need is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError, TvmTuneError
from pytest_tvmtune.core.options import CaseOptions
from pytest_tvmtune.core.settings import BY_NAME, parse_marker
from pytest_tvmtune.plugin.choices import Choice, item_choices
from pytest_tvmtune.plugin.model_files import ModelItem, left_alone_lines
from pytest_tvmtune.plugin.reporting import WORKER_ERROR
from pytest_tvmtune.plugin.state import STATE, State, is_worker

MARKER = "tvm_tune"
CASE_FIXTURE = "_tvmtune_case"
_BEGAN_LATE = (
    "tvm was imported before pytest-tvmtune was loaded: if an operator or a function of TVM was "
    "overridden by then, models run without that; name the module that does so with --tvm-setup"
)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item for each target and prepack choice; ours come last in an item's id."""
    marks = list(metafunc.definition.iter_markers(MARKER))
    if CASE_FIXTURE not in metafunc.fixturenames:
        # A mark on its class or module may be meant for its neighbours.
        if any(mark.name == MARKER for mark in metafunc.definition.own_markers):
            raise pytest.Collector.CollectError(
                f"{metafunc.definition.nodeid} is marked {MARKER} but takes none of the fixtures "
                "tvm_tune, tvm_target, tvm_device: add one, or drop the marker"
            )
        return
    try:
        arguments = _marker_arguments(marks)
        if "work_dir" in arguments:
            arguments["work_dir"] = metafunc.config.rootpath / arguments["work_dir"]
        choices = item_choices(metafunc.config.stash[STATE].run, arguments)
    except OptionError as error:
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid}: marker {MARKER}: {error}"
        ) from None
    metafunc.parametrize(CASE_FIXTURE, [_param(choice) for choice in choices], indirect=True)


def _marker_arguments(marks: list[pytest.Mark]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mark in reversed(marks):  # the closest comes first and beats the others
        if mark.args:
            raise OptionError(f"takes keyword arguments only, not {mark.args!r}")
        merged.update(mark.kwargs)
    return parse_marker(merged)


def _param(choice: Choice) -> Any:
    marks = [pytest.mark.skip(reason=choice.left_out)] if choice.options is None else []
    return pytest.param(choice.options, id=choice.id, marks=marks)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Once marked tests are to run, check store, installation and targets."""
    wanted = [options for item in items if (options := case_options_of(item)) is not None]
    if not wanted or config.option.collectonly:
        return
    state = config.stash[STATE]
    try:
        _start(config, state, wanted)
    except TvmTuneError as error:
        if not is_worker(config):
            raise pytest.UsageError(str(error)) from None
        # A worker can't end the run with a UsageError; the controller does when it hears of it.
        config.workeroutput[WORKER_ERROR] = str(error)  # type: ignore[attr-defined]
        items.clear()


def case_options_of(item: pytest.Item) -> CaseOptions | None:
    """Return what an item is told to do, None when it isn't one of ours."""
    if isinstance(item, ModelItem):
        return item.options
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get(CASE_FIXTURE) if callspec else None
    return value if isinstance(value, CaseOptions) else None


def _start(config: pytest.Config, state: State, wanted: list[CaseOptions]) -> None:
    from pytest_tvmtune.plugin.progress import ProgressDisplay
    from pytest_tvmtune.relax.environment import check_imports, check_installation
    from pytest_tvmtune.relax.registrations import began_late
    from pytest_tvmtune.relax.setup import use_setup
    from pytest_tvmtune.store.layout import open_store, sweep_scratch

    store = open_store(state.run.store_dir, state.run.store_fallback)
    sweep_scratch(store)
    tuning = state.run.tuning != "never" and any(options.trials for options in wanted)
    check_installation(store, tuning=tuning)
    check_imports()
    use_setup(_setup_modules(config, state))
    if began_late():
        state.notes.append(_BEGAN_LATE)

    # They import numpy and tvm.
    from pytest_tvmtune.relax.targets import canonical, device_of, resolve_target
    from pytest_tvmtune.runner.case import Workshop

    for spec in dict.fromkeys(options.target for options in wanted):
        target = resolve_target(spec)
        device_of(target)
        state.canonical_targets.append(f"{spec.name} = {canonical(target)}")
    state.wanted = wanted
    state.workshop = Workshop(
        store=store,
        on_progress=ProgressDisplay(config),
        started_s=state.started_s,
        gated_items=len(wanted),
    )


def _setup_modules(config: pytest.Config, state: State) -> list[str]:
    """Return the modules of `tvm_setup`, and those that hooks add, each once."""
    modules = [str(one) for one in state.run.setup]
    for more in config.hook.pytest_tvmtune_setup(config=config):
        parsed = BY_NAME["setup"].parse(more, "hook pytest_tvmtune_setup")
        modules += [str(config.rootpath / one if isinstance(one, Path) else one) for one in parsed]
    return list(dict.fromkeys(modules))


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say what the marked tests will run with, now that there are any."""
    state = config.stash[STATE]
    if state.workshop is None:
        return [] if items else left_alone_lines(config)
    from pytest_tvmtune.report.terminal import header_lines

    return header_lines(
        targets=state.canonical_targets,
        store=state.run.store_dir,
        tuning=state.run.tuning,
        trials=sorted({options.trials for options in state.wanted}),
        max_times_s=sorted({options.max_time_s for options in state.wanted}),
        gated_items=state.workshop.gated_items,
    )
