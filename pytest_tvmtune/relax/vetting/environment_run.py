"""What a run of a suite in one environment leaves for `tvmtune vet`: its tests and its cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_tvmtune.core.settings.quantities import Threshold
from pytest_tvmtune.core.vetting.vet_report import TestOutcome
from pytest_tvmtune.relax.measuring.session import EntryCall
from pytest_tvmtune.store.artifacts import Artifact

# The environment variable with the folder for these files.
FOLDER_VARIABLE = "TVMTUNE_VET"
RUN_FILE, CASES = "run", "cases"


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltCase:
    """A case's library, and how to call it."""

    artifact: Artifact
    call: EntryCall


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvironmentCase:
    """A call of `tvm_tune` in one environment.

    signature: of the model, in JSON values. built: None where the model couldn't be opened,
    compiled, or run; the findings say why. path: `sys.path` of its process. setup: the modules of
    `tvm_setup`. The other fields are the options of its test.
    """

    nodeid: str
    name: str
    label: str
    prepack: bool
    findings: tuple[str, ...]
    threshold: Threshold
    max_time_s: float
    timeout_s: float
    cold_cache: bool
    rtol: float | None
    atol: float | None
    signature: dict[str, Any] = field(default_factory=dict)
    output_names: tuple[str, ...] = ()
    tuned_kernels: int = 0
    built: BuiltCase | None = None
    num_threads: int = 1
    path: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What the same case has in the other environment, too."""
        return self.nodeid, self.name


@dataclass(frozen=True, kw_only=True)
class EnvironmentRun:
    """A finished run of pytest.

    tests: all that ran, and the files that couldn't be collected. not_run: the ids of those that
    were collected, but didn't run. tvm: what reports say of the TVM that was tested, from
    `tvm_info`.
    """

    tests: tuple[TestOutcome, ...]
    not_run: tuple[str, ...]
    tvm: dict[str, str]
