"""Collection: marked test functions become items, and the installation is checked for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_tvmtune.core.errors import LackingError, OptionError, TvmTuneError
from pytest_tvmtune.core.settings.options import CaseOptions
from pytest_tvmtune.core.settings.parsing import parse_setting
from pytest_tvmtune.plugin.collecting.baseline_identity import note_source
from pytest_tvmtune.plugin.collecting.case_items import CASE_FIXTURE, MARKER, is_case
from pytest_tvmtune.plugin.collecting.item_variants import ItemVariant, item_choices
from pytest_tvmtune.plugin.collecting.marks import mark_problem, merged_arguments, options_of
from pytest_tvmtune.plugin.collecting.model_file_items import ModelItem, left_alone_lines
from pytest_tvmtune.plugin.reporting import WORKER_ERROR
from pytest_tvmtune.plugin.state import STATE, State, is_worker
from pytest_tvmtune.relax.installation.registrations import began_late

_BEGAN_LATE = (
    "tvm was imported before pytest-tvmtune was loaded: if a module overrode an operator or a "
    "function of TVM by then, models run without the override; name the module with --tvm-setup"
)


def make_items(metafunc: pytest.Metafunc) -> None:
    """Make one item of a test for each target and prepack choice.

    Args:
        metafunc: The test, which requests one of the fixtures.

    Raises:
        pytest.Collector.CollectError: A marker of the test is wrong.
    """
    definition = metafunc.definition
    try:
        arguments = merged_arguments(definition.iter_markers(MARKER), metafunc.config)
        choices = item_choices(metafunc.config.stash[STATE].run, arguments)
    except OptionError as error:
        raise _wrong_mark(definition, error) from None
    metafunc.parametrize(CASE_FIXTURE, [_param(choice) for choice in choices], indirect=True)


def _param(choice: ItemVariant) -> Any:
    marks = [pytest.mark.skip(reason=choice.left_out)] if choice.options is None else []
    return pytest.param(choice.options, id=choice.id, marks=marks)


def check_item(item: pytest.Function) -> None:
    """Check the markers of parameters, which are known only after an item is made.

    Args:
        item: An item of a case.

    Raises:
        pytest.Collector.CollectError: A marker is wrong, or comes too late.
    """
    try:
        options_of(item, item.config.stash[STATE].run)
    except OptionError as error:
        raise _wrong_mark(item, error) from None


def _wrong_mark(item: pytest.Item, error: OptionError) -> pytest.Collector.CollectError:
    return pytest.Collector.CollectError(mark_problem(item, error))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the baseline of an item, so no two tests can share a baseline."""
    if is_case(item):
        assert isinstance(item, pytest.Function)
        note_source(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """If marked tests run, check the store, the installation, and the targets."""
    told = {item: options for item in items if (options := case_options_of(item)) is not None}
    if not told or runs_nothing(config):
        return
    state = config.stash[STATE]
    try:
        _start(config, state, told)
    except TvmTuneError as error:
        if not is_worker(config):
            raise pytest.UsageError(str(error)) from None
        # A worker can't end the run with a UsageError. It sends the error to the controller.
        config.workeroutput[WORKER_ERROR] = str(error)  # type: ignore[attr-defined]
        items.clear()


def runs_nothing(config: pytest.Config) -> bool:
    """Whether pytest only lists tests or fixtures, and calls no test."""
    names = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly", "setupplan")
    return any(getattr(config.option, name, False) for name in names)


def case_options_of(item: pytest.Item) -> CaseOptions | None:
    """Return the options of an item, None if it isn't an item of a case."""
    if isinstance(item, ModelItem):
        return item.options
    if not is_case(item):
        return None
    assert isinstance(item, pytest.Function)
    try:
        return options_of(item, item.config.stash[STATE].run)
    except OptionError:  # the item fails with it when it runs
        value = item.callspec.params[CASE_FIXTURE]
        return value if isinstance(value, CaseOptions) else None


def _start(config: pytest.Config, state: State, told: dict[pytest.Item, CaseOptions]) -> None:
    from pytest_tvmtune.plugin.progress_display import progress_display
    from pytest_tvmtune.processes.setup_modules import use_setup
    from pytest_tvmtune.relax.installation.startup_check import check_imports, check_installation
    from pytest_tvmtune.store.layout import open_store, sweep_scratch

    store = open_store(state.run.store_dir, state.run.store_fallback)
    sweep_scratch(store)
    tuning = state.run.tuning != "never" and any(one.trials for one in told.values())
    if warning := check_installation(store, tuning=tuning):
        state.notes.append(warning)
    check_imports()
    use_setup(_setup_modules(config, state))
    if began_late():
        state.notes.append(_BEGAN_LATE)

    from pytest_tvmtune.stages.case import RunContext  # imports numpy and tvm

    _resolve_targets(state, list(told.values()))
    for item, options in told.items():
        problem = state.target_problems.get(options.target)
        if isinstance(problem, LackingError):
            item.add_marker(pytest.mark.skip(reason=str(problem)))
        elif problem is None:
            state.wanted.append(options)
    state.run_context = RunContext(
        store=store,
        on_progress=progress_display(config),
        started_s=state.started_s,
        gated_items=max(1, len(state.wanted)),
    )


def _setup_modules(config: pytest.Config, state: State) -> list[str]:
    """Return the modules of `tvm_setup` and of hooks, without repetitions."""
    modules = [str(one) for one in state.run.setup]
    for more in config.hook.pytest_tvmtune_setup(config=config):
        parsed = parse_setting("setup", more, "hook pytest_tvmtune_setup")
        modules += [str(config.rootpath / one if isinstance(one, Path) else one) for one in parsed]
    return list(dict.fromkeys(modules))


def _resolve_targets(state: State, told: list[CaseOptions]) -> None:
    """Note each target, or its problem. A problem of a target that isn't pinned is raised."""
    from pytest_tvmtune.relax.devices.targets import canonical, resolve_target, usable_target
    from pytest_tvmtune.stages.devices.known_devices import check_device_target

    for options in told:
        if options.rpc is not None:
            check_device_target(options)
    here = {options.target for options in told if options.rpc is None}
    for spec in dict.fromkeys(options.target for options in told):
        try:
            resolved = usable_target(spec) if spec in here else resolve_target(spec)
            state.canonical_targets[spec] = canonical(resolved)
        except OptionError as error:
            if spec in state.run.unpinned_targets:
                raise
            for asked in state.run.asked_targets or ():
                if asked.kind == spec.kind:
                    usable_target(asked)
            state.target_problems[spec] = error


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Return the header, if there are marked tests."""
    state = config.stash[STATE]
    if not state.wanted:
        return [] if items else left_alone_lines(config)
    from pytest_tvmtune.report.terminal_summary import header_lines

    return header_lines(
        targets=[(spec.name, text) for spec, text in state.canonical_targets.items()],
        store=state.run.store_dir,
        tuning=state.run.tuning,
        trials=sorted({options.trials for options in state.wanted}),
        max_times_s=sorted({options.max_time_s for options in state.wanted}),
        gated_items=len(state.wanted),
        devices=sorted({str(options.rpc) for options in state.wanted if options.rpc}),
        unused=_unused_features(state),
        verbose=config.get_verbosity() > 0,
    )


def _unused_features(state: State) -> list[str]:
    """Return the vector instructions of this machine that a target of its tests doesn't use."""
    from pytest_tvmtune.relax.devices.cpu_features import unused_features

    here = {options.target for options in state.wanted if options.rpc is None}
    found = (unused_features(state.canonical_targets[one]) for one in here)
    return next(filter(None, found), [])
