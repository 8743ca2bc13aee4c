"""Addresses of devices behind TVM RPC, as settings and TVM's own variables give them."""

from __future__ import annotations

import pytest

from pytest_tvmtune.core.errors import OptionError
from pytest_tvmtune.core.settings.rpc_address import (
    RpcAddress,
    parse_rpc,
    rpc_of_environment,
)

TRACKER = {
    "TVM_TRACKER_HOST": "10.0.0.7",
    "TVM_TRACKER_PORT": "9190",
    "TVM_TRACKER_KEY": "rasp4b",
}


@pytest.mark.parametrize(
    ("text", "host", "port", "key"),
    [
        ("127.0.0.1:9190/rasp4b", "127.0.0.1", 9190, "rasp4b"),
        ("board.local:9090", "board.local", 9090, ""),
        ("[::1]:1/k", "::1", 1, "k"),
        ("board:65535", "board", 65535, ""),
        ("tracker:9190/lab/rasp4b", "tracker", 9190, "lab/rasp4b"),
    ],
)
def test_an_address_is_read_and_written_in_one_form(
    text: str, host: str, port: int, key: str
) -> None:
    address = parse_rpc(f" {text}\n", "rpc")
    assert address == RpcAddress(host=host, port=port, key=key)
    assert address.is_tracker == bool(key)
    assert str(address) == text
    assert parse_rpc(address, "rpc") is address


@pytest.mark.parametrize(
    "value",
    [
        "",
        "board",
        ":9190",
        "[]:9190",
        "board:",
        "board:port",
        "board:0",
        "board:65536",
        "board:-1",
        "board:9190.0",
        "board:\u0663",
        "board:" + "9" * 5000,
        "board:9190/",
        "board/9190",
        "bo ard:9190",
        "board:9190/raspberry pi",
        "board:9190/raspberry\tpi",
        9190,
        None,
    ],
)
def test_what_is_no_address(value: object) -> None:
    with pytest.raises(OptionError, match=r"^--tvm-rpc: .+ isn't an address; give HOST:PORT/KEY"):
        parse_rpc(value, "--tvm-rpc")


def test_the_variables_of_tvm_name_a_tracker() -> None:
    assert rpc_of_environment(TRACKER) == RpcAddress(host="10.0.0.7", port=9190, key="rasp4b")


@pytest.mark.parametrize("name", TRACKER)
def test_some_of_the_variables_name_nothing(name: str) -> None:
    assert rpc_of_environment({**TRACKER, name: ""}) is None
    assert rpc_of_environment({key: TRACKER[key] for key in TRACKER if key != name}) is None


def test_a_bad_variable_is_an_error_that_names_them() -> None:
    with pytest.raises(OptionError, match=r"^TVM_TRACKER_HOST, TVM_TRACKER_PORT, TVM_TRACKER_KEY"):
        rpc_of_environment({**TRACKER, "TVM_TRACKER_PORT": "many"})
