"""Targets as users write them, their stable names, and which of them a test runs on."""

from __future__ import annotations

import json

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.target_spec import TargetSpec, parse_target, select_targets


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ("llvm", {"kind": "llvm"}),
        ("  llvm  ", {"kind": "llvm"}),
        ("host", {}),
        ("llvm -mcpu=znver4", {"kind": "llvm", "mcpu": "znver4"}),
        ("llvm --mcpu=znver4", {"kind": "llvm", "mcpu": "znver4"}),
        ("llvm -mcpu znver4 -num-cores 4", {"kind": "llvm", "mcpu": "znver4", "num-cores": 4}),
        ("llvm -num-cores=4", {"kind": "llvm", "num-cores": 4}),
        ("llvm -mattr=+avx2,-fma", {"kind": "llvm", "mattr": ["+avx2", "-fma"]}),
        ("llvm -keys=cpu,arm_cpu", {"kind": "llvm", "keys": ["cpu", "arm_cpu"]}),
        (
            "llvm -system-lib -mcpu=x",
            {"kind": "llvm", "system-lib": True, "mcpu": "x"},
        ),
        ("llvm -fast-math=FALSE", {"kind": "llvm", "fast-math": False}),
        ("llvm -opt-level -1", {"kind": "llvm", "opt-level": -1}),
        ("llvm -mcpu='a b'", {"kind": "llvm", "mcpu": "a b"}),
        ("nvidia/nvidia-a100", {"tag": "nvidia/nvidia-a100"}),
        ({"kind": "llvm", "num-cores": 2}, {"kind": "llvm", "num-cores": 2}),
        ({"kind": "llvm", "tag": ""}, {"kind": "llvm"}),
        ('{"kind": "llvm", "mcpu": "znver4"}', {"kind": "llvm", "mcpu": "znver4"}),
        ({"tag": "a/b"}, {"tag": "a/b"}),
    ],
)
def test_every_accepted_form(given: object, config: dict[str, object]) -> None:
    assert parse_target(given).config == config


class PrintsItsConfiguration:
    def __str__(self) -> str:
        return '{"kind": "llvm", "mcpu": "znver4", "tag": "", "keys": ["cpu"]}'


def test_an_object_that_prints_as_json_is_taken_by_its_text_as_a_tvm_target_does() -> None:
    spec = parse_target(PrintsItsConfiguration())
    assert spec.config == {"kind": "llvm", "mcpu": "znver4"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"kind": "llvm", "keys": ["cpu"]}, "llvm"),
        ("llvm -keys=cpu -num-cores=3", "llvm"),
        ('{"kind": "cuda", "keys": ["cuda", "gpu"], "thread_warp_size": 32}', "cuda"),
        ({"kind": "llvm", "mcpu": "x86-64-v3", "keys": ["cpu"]}, "llvm-5b9c65ff"),
    ],
)
def test_what_tvm_fills_in_makes_no_other_target(given: object, name: str) -> None:
    assert parse_target(given).name == name


@pytest.mark.parametrize("keys", [["arm_cpu", "cpu"], ["cpu", "arm_cpu"], []])
def test_other_keys_do(keys: list[str]) -> None:
    assert parse_target({"kind": "llvm", "keys": keys}).name != "llvm"


def test_a_host_has_one_form() -> None:
    names = {
        parse_target({"kind": "cuda", "host": host}).name
        for host in (
            "llvm",
            {"kind": "llvm"},
            '{"kind": "llvm"}',
            {"kind": "llvm", "keys": ["cpu"]},
        )
    }
    assert len(names) == 1


def test_a_parsed_target_stays_as_it_is() -> None:
    spec = parse_target("llvm")
    assert parse_target(spec) is spec


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ('{"kind": "llvm"', "malformed JSON"),
        ("{}", "not a target configuration"),
        ({}, "not a target configuration"),
        ({"mcpu": "znver4"}, "has no target kind"),
        ({"kind": 5}, "has no target kind"),
        ({"kind": ""}, "has no target kind"),
        ({"kind": "", "tag": ""}, "has no target kind"),
        ("123", "has no target kind"),
        ("-mcpu=znver4", "has no target kind"),
        ("[1, 2]", "is not an attribute"),
        ("llvm znver4", "'znver4' in 'llvm znver4' is not an attribute"),
        ("llvm -mcpu=a b", "'b' in"),
        ("llvm -", "'-' in"),
        ("llvm --", "'--' in"),
        ("llvm -=5", "is not an attribute"),
        ("llvm -mcpu='a", "No closing quotation"),
        ("llvm -num-cores=0", "num-cores is 0"),
        ("llvm -num-cores=-3", "num-cores is -3"),
        ("llvm -num-cores", "num-cores is True"),
        ({"kind": "llvm", "num-cores": "4"}, "num-cores is '4'"),
        ({"kind": "llvm", "num-cores": 2.5}, "num-cores is 2.5"),
        ({"kind": "llvm", "mcpu": object()}, "JSON can't hold"),
        (3, "has no target kind"),
        (None, "target"),
        (True, "target"),
    ],
)
def test_every_error_names_the_option_and_what_is_accepted(given: object, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_target(given, "--tvm-target")
    message = str(caught.value)
    assert message.startswith("--tvm-target: ")
    assert problem in message


def test_a_malformed_target_is_told_what_to_give() -> None:
    with pytest.raises(OptionError, match=r'"host", .* \("llvm -mcpu=znver4 -num-cores 4"\)'):
        parse_target("llvm znver4")


def test_what_stands_in_the_config_is_a_copy() -> None:
    given = {"kind": "llvm"}
    spec = parse_target(given)
    given["mcpu"] = "znver4"
    spec.config["mcpu"] = "znver4"
    assert spec.config == {"kind": "llvm"}


def test_bare_kinds_and_host_are_named_by_themselves() -> None:
    assert parse_target("llvm").name == "llvm"
    assert parse_target("cuda -num-cores 4").name == "cuda"
    assert parse_target("host").name == "host"
    assert parse_target("host").kind == "llvm"


def test_the_name_is_stable_over_spelling_order_and_cores() -> None:
    spellings = [
        "llvm -mcpu=znver4 -opt-level=3",
        "llvm -opt-level 3 -mcpu znver4",
        "llvm -opt-level=3 -num-cores=8 -mcpu=znver4",
        {"mcpu": "znver4", "opt-level": 3, "kind": "llvm"},
        '{"opt-level": 3, "kind": "llvm", "num-cores": 2, "mcpu": "znver4"}',
    ]
    names = {parse_target(spelling).name for spelling in spellings}
    # Item ids and baselines carry it: the literal may not change between releases.
    assert names == {"llvm-41570920"}


def test_different_code_has_different_names_fit_for_test_ids() -> None:
    texts = ["llvm", "host", "llvm -mcpu=a", "llvm -mcpu=b", "nvidia/nvidia-a100", "cuda -arch=a"]
    names = [parse_target(text).name for text in texts]
    assert len(set(names)) == len(texts)
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)
    assert all(len(name) < 40 for name in names)


def specs(*texts: str) -> tuple[TargetSpec, ...]:
    return tuple(parse_target(text) for text in texts)


ZNVER4_JSON = '{"kind": "llvm", "mcpu": "znver4"}'


@pytest.mark.parametrize(
    ("pinned", "asked", "chosen"),
    [
        # Nothing pinned: what was asked, else the default.
        (None, None, ["default_kind"]),
        (None, ["llvm", "cuda"], ["llvm", "cuda"]),
        # Nothing asked: all that is pinned.
        (["llvm", "cuda"], None, ["llvm", "cuda"]),
        # A bare kind that was asked stands for every pinned target of its kind.
        (["llvm", "cuda"], ["llvm"], ["llvm"]),
        (["llvm -mcpu=a", "llvm -mcpu=b", "cuda"], ["llvm"], ["llvm -mcpu=a", "llvm -mcpu=b"]),
        (["host"], ["llvm"], ["host"]),
        # A bare kind that is pinned stands for every asked target of its kind.
        (["llvm"], ["llvm -mcpu=a", "host"], ["llvm -mcpu=a", "host"]),
        # Two special ones must be the same.
        (["llvm -mcpu=a"], ["llvm -mcpu=a"], ["llvm -mcpu=a"]),
        (["llvm -mcpu=a"], ["llvm -mcpu=b"], []),
        (["host"], ["llvm -mcpu=a"], []),
        (["host"], ["host"], ["host"]),
        # The same target in another spelling is the same target.
        (["llvm -mcpu=znver4"], [ZNVER4_JSON], ["llvm -mcpu=znver4"]),
        (["llvm -mcpu=a"], ["llvm -mcpu=a -num-cores=2"], ["llvm -mcpu=a"]),
        # What the run leaves out, and each target once.
        (["cuda"], ["llvm"], []),
        (["cuda"], ["llvm", "cuda", "cuda"], ["cuda"]),
        (["llvm"], ["llvm", "llvm -mcpu=a"], ["llvm", "llvm -mcpu=a"]),
        # A tag is no kind but itself.
        (["nvidia/nvidia-a100"], ["cuda"], []),
        (["nvidia/nvidia-a100"], ["nvidia/nvidia-a100"], ["nvidia/nvidia-a100"]),
    ],
)
def test_which_of_the_pinned_targets_a_run_does(
    pinned: list[str] | None, asked: list[str] | None, chosen: list[str]
) -> None:
    result = select_targets(
        None if pinned is None else specs(*pinned),
        None if asked is None else specs(*asked),
        specs("default_kind"),
    )
    assert [spec.name for spec in result] == [spec.name for spec in specs(*chosen)]


def test_the_cores_asked_for_reach_a_test_pinned_to_the_bare_kind() -> None:
    (chosen,) = select_targets(specs("llvm"), specs("llvm -num-cores=2"), specs("llvm"))
    assert chosen.config == {"kind": "llvm", "num-cores": 2}


def test_config_json_is_sorted_so_that_it_can_be_compared() -> None:
    spec = parse_target({"mcpu": "a", "kind": "llvm"})
    assert spec.config_json == json.dumps({"kind": "llvm", "mcpu": "a"})
