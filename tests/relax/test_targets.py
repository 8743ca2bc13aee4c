"""Targets as TVM has them, and the names they then have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tvm.target import Target

from pytest_tvmtune.core.errors import LackingError, OptionError
from pytest_tvmtune.core.settings.target_spec import FILLED_IN, parse_target
from pytest_tvmtune.relax.devices.targets import shortest_config, usable_target


@pytest.mark.parametrize(
    "given",
    [
        "llvm",
        "c",
        "cuda",
        "metal",
        "nvidia/nvidia-a100",
        "raspberry-pi/4b-aarch64",
        {"kind": "llvm", "num-cores": 4},
        {"kind": "llvm", "mcpu": "znver4", "num-cores": 4},
        {"kind": "llvm", "keys": ["cpu", "arm_cpu"]},
        {"kind": "cuda", "arch": "sm_80"},
        {"kind": "cuda", "host": {"kind": "llvm", "mcpu": "znver4"}},
    ],
    ids=str,
)
def test_a_target_object_has_the_name_of_what_it_was_made_of(given: Any) -> None:
    config = shortest_config(Target(given))
    assert parse_target(config).name == parse_target(given).name


def test_what_is_no_target_stays_what_it_is() -> None:
    assert shortest_config(5) == 5


@pytest.mark.each_version
@pytest.mark.parametrize("kind", FILLED_IN)
def test_what_tvm_fills_in_is_known(kind: str) -> None:
    full = json.loads(str(Target(kind)))
    assert {name: full[name] for name in FILLED_IN[kind]} == FILLED_IN[kind]


def test_what_the_machine_lacks_is_told_from_what_tvm_does_not_know() -> None:
    assert str(usable_target(parse_target("llvm")).kind.name) == "llvm"
    assert usable_target(parse_target("host")).attrs["mcpu"]
    with pytest.raises(LackingError, match="target 'cuda': this machine has no such device"):
        usable_target(parse_target("cuda"))
    with pytest.raises(OptionError, match="unknown kind 'nokind'") as caught:
        usable_target(parse_target("nokind"))
    assert not isinstance(caught.value, LackingError)
