"""Where a device is: the address of a TVM RPC server, or of a tracker and a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_tvmtune.core.errors import OptionError

TRACKER_VARIABLES = ("TVM_TRACKER_HOST", "TVM_TRACKER_PORT", "TVM_TRACKER_KEY")
_ACCEPTED = (
    "HOST:PORT/KEY for the devices that a tracker has for a key, or HOST:PORT for one server, for "
    "example 127.0.0.1:9190/rasp4b"
)
_MAX_PORT = 65535
_PORT_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class RpcAddress:
    """An address. key: which of a tracker's devices; "" where the address is a server's own."""

    host: str
    port: int
    key: str = ""

    @property
    def is_tracker(self) -> bool:
        """Whether it's the address of a tracker, not of a server."""
        return bool(self.key)

    def __str__(self) -> str:
        """Return it as it is given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f"/{self.key}" if self.key else "")


def parse_rpc(value: object, where: str) -> RpcAddress:
    """Return an address. Raises OptionError."""
    if isinstance(value, RpcAddress):
        return value
    text = value.strip() if isinstance(value, str) else ""
    place, slash, key = text.partition("/")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # Python refuses to read thousands of digits.
    has_port = port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS
    is_whole = host and colon and has_port and bool(slash) == bool(key)
    if not is_whole or not 0 < int(port) <= _MAX_PORT or len(text.split()) != 1:
        raise OptionError(f"{where}: {value!r} isn't an address; give {_ACCEPTED}")
    return RpcAddress(host=host, port=int(port), key=key)


def rpc_of_environment(environment: Mapping[str, str]) -> RpcAddress | None:
    """Return the tracker that TVM's own variables name, None unless all of them are set.

    Raises OptionError.
    """
    host, port, key = (environment.get(name, "") for name in TRACKER_VARIABLES)
    if not (host and port and key):
        return None
    return parse_rpc(f"{host}:{port}/{key}", ", ".join(TRACKER_VARIABLES))
