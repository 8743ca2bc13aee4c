"""The results of comparing outputs: with expected outputs, and with golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.json_codec import NullableFloat

GoldenState = Literal["new", "matched", "differs", "unusable", "written"]


@dataclass(frozen=True, kw_only=True)
class ErrorResult:
    """A numeric comparison.

    Attributes:
        against: The name of the reference: `expected`, `onnxruntime`, `torch`, `golden`,
            `test_data_set_0`, `the untuned, unpacked build`, `prepacked`, or `not prepacked`.
        passed: Whether every output agrees within its tolerance.
        max_abs_error: The largest absolute error over all outputs.
        max_rel_error: The largest relative error over all outputs, of the elements whose expected
            value isn't 0.
        message: The differences in words; empty if the outputs agree.
        outputs: The outputs that were compared.
    """

    against: str
    passed: bool
    max_abs_error: NullableFloat
    max_rel_error: NullableFloat
    message: str = ""
    outputs: tuple[OutputError, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoldenResult:
    """The result for the golden outputs of a case.

    Attributes:
        path: The path of the file, from the rootdir.
        state: `new`: there is no file. `matched`: the outputs agree. `differs`: the outputs don't
            agree. `unusable`: the file is damaged, or was made with other inputs. `written`: this
            run wrote the file.
    """

    path: str
    state: GoldenState
