"""From a marked test function to one item for each target and prepack choice."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_tvmtune.core.errors import OptionError, TvmTuneError
from pytest_tvmtune.core.options import CaseOptions, RunOptions, parse_marker
from pytest_tvmtune.core.targets import select_targets
from pytest_tvmtune.plugin.reporting import WORKER_ERROR
from pytest_tvmtune.plugin.state import STATE, State, is_worker

MARKER = "tvm_tune"
CASE_FIXTURE = "_tvmtune_case"


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
        cases = _cases(metafunc.config.stash[STATE].run, arguments)
    except OptionError as error:
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid}: marker {MARKER}: {error}"
        ) from None
    metafunc.parametrize(CASE_FIXTURE, cases, indirect=True)


def _marker_arguments(marks: list[pytest.Mark]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mark in reversed(marks):  # the closest comes first and beats the others
        if mark.args:
            raise OptionError(f"takes keyword arguments only, not {mark.args!r}")
        merged.update(mark.kwargs)
    return parse_marker(merged)


def _cases(run: RunOptions, arguments: dict[str, Any]) -> list[Any]:
    pinned = arguments.get("target")
    targets = select_targets(pinned, run.asked_targets, RunOptions.first_set("target", ()))
    if not targets:
        asked = ", ".join(spec.given for spec in run.asked_targets or ())
        mine = ", ".join(spec.given for spec in pinned or ())
        reason = f"this test is for {mine}, the run does {asked}"
        return [pytest.param(None, id="left-out", marks=pytest.mark.skip(reason=reason))]
    prepack = RunOptions.first_set("prepack", (arguments, *run.layers))
    choices = {"off": (False,), "on": (True,), "both": (False, True)}[prepack]
    cases = []
    for target in targets:
        for packed in choices:
            options = run.case_options(arguments, target=target, prepack=packed)
            name = f"{target.name}-prepack" if packed else target.name
            cases.append(pytest.param(options, id=name))
    return cases


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
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get(CASE_FIXTURE) if callspec else None
    return value if isinstance(value, CaseOptions) else None


def _start(config: pytest.Config, state: State, wanted: list[CaseOptions]) -> None:
    from pytest_tvmtune.plugin.progress import ProgressDisplay
    from pytest_tvmtune.relax.environment import check_installation
    from pytest_tvmtune.runner.case import Workshop
    from pytest_tvmtune.store.layout import open_store, sweep_scratch

    store = open_store(state.run.store_dir, state.run.store_fallback)
    sweep_scratch(store)
    tuning = state.run.tuning != "never" and any(options.trials for options in wanted)
    check_installation(store, tuning=tuning)

    from pytest_tvmtune.relax.targets import canonical, device_of, resolve_target

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


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what the marked tests will run with, now that there are any."""
    state = config.stash[STATE]
    if state.workshop is None:
        return []
    from pytest_tvmtune.report.terminal import header_lines

    return header_lines(
        targets=state.canonical_targets,
        store=state.run.store_dir,
        tuning=state.run.tuning,
        trials=sorted({options.trials for options in state.wanted}),
        max_times_s=sorted({options.max_time_s for options in state.wanted}),
        gated_items=state.workshop.gated_items,
    )
