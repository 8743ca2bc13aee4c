"""Distinguishing a lost device from a fault of the code that ran there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pytest_tvmtune.core.errors import DeviceError, DeviceLostError

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
# What TVM's client says of a connection that ended. Source: rpc_socket_impl.cc, rpc_endpoint.cc.
_LOST = re.compile(
    r"SockChannel::(Send|Recv) Error|RPCSessionTimeoutError|Channel closes before|"
    r"code=(kShutdown|1\b)|connection was previously closed",
)


def is_lost(error: BaseException | None) -> bool:
    """Return whether an error, or what it was raised from, is a lost connection."""
    while error is not None:
        if _LOST.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def telling_lost_devices(run: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Have a job raise DeviceLostError where its device's server ends the session."""

    @functools.wraps(run)
    def told(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return run(*args, **kwargs)
        except DeviceError:
            raise  # there was none to lose
        except Exception as error:
            if is_lost(error):
                raise DeviceLostError(
                    "the device's server ended the session: it crashed, was stopped, or its time "
                    "was over"
                ) from error
            raise

    return told
