"""What becomes of other people's errors, and of long lists, in our messages.

The texts are what the libraries really raise: TVM 0.27, torch 2.13, onnx 1.23, onnxruntime 1.32.
"""

from __future__ import annotations

import pytest

from pytest_tvmtune.core.error_text import cause_of, typed_cause_of
from pytest_tvmtune.core.errors import listed

LAYER_NORM = (
    'ir.Op(span=None, ty=ir.Type(span=None), name="relax.nn.layer_norm", description="", '
    'arguments=(ir.ArgumentInfo(name="data", type_info="Tensor", description="Input to which '
    'layer_norm will be applied."), ir.ArgumentInfo(name="gamma", type_info="Tensor", '
    'description="The gamma (scale factor."), ir.ArgumentInfo(name="beta", type_info="Tensor", '
    'description="The beta offset factor.")), attrs_type_key="relax.attrs.LayerNormAttrs", '
    "num_inputs=3, support_level=10) requires the input gamma, beta, etc., to have size same as "
    "the lengths of the data on the given axes. However, there exists (T.int64(4),) and "
    "(T.int64(1),) that are unequal."
)
NOT_SCRIPT = (
    "error: In "
    + LAYER_NORM[: LAYER_NORM.index(" requires")]
    + ", the first input shape at dim 1 is T.int64(3) and the second input shape at dim 1 is "
    "T.int64(5), which are not broadcastable.\n --> test_it.py:74:13\n    |  \n 74 |              "
    "return R.add(x, y)\n    |              ^^^^^^^^^^^^^^^^^^\n"
)
SCHEDULE = (
    "ScheduleError: An error occurred in the schedule primitive 'compute-at'.\n\nThe IR with "
    "diagnostic is:\n# from tvm.script import ir as I\n\n@I.ir_module\nclass Module:\n"
    + "    b[vi] = a[vi]\n" * 30
    + "Error message: ScheduleError: Expected the block b and loop i to be under one scope"
)
TORCH = (
    "Could not guard on data-dependent expression Eq(u0, 1) (unhinted: Eq(u0, 1)).  (Size-like "
    "symbols: none)\n\nconsider using data-dependent friendly APIs such as guard_or_false, "
    'guard_or_true and statically_known_true.\nFor more information, run with TORCH_LOGS="dynamic"'
    "\nFor more debugging help, see https://docs.google.com/document/d/1HSuTTVvYH1pTew89Rtpeu84H\n"
    "\nThe error above occurred when calling torch.export.export. If you would like to view some "
    "more information about this error, you can replace your `export()` call with `draft_export()`."
)
BINARY = (
    "Binary operators must have the same datatype for both operands.  However, R.add(p_f_bias, "
    'lv1) uses datatype T.float16 on the LHS (Type of R.Tensor((2,), dtype="float16")), and '
    'datatype T.float32 on the RHS (Type of R.Tensor((2, 2), dtype="float32")).'
)
HOST_MEMORY = (
    "Memory verification failed with the following errors:\n    Variable `T_add` is directly "
    "accessed by host memory (it is not contained in a thread environment or in the function "
    "arguments.\n    Did you forget to bind?\n" + "    T_add[i] = x[i]\n" * 20
)


def raise_bare(values: list[int]) -> None:
    if len(values) < 2:
        raise AssertionError


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            LAYER_NORM,
            (
                "relax.nn.layer_norm requires the input gamma, beta, etc., to have size same as "
                "the "
                "lengths of the data on the given axes. However, there exists (4,) and (1,) that "
                "are "
                "unequal."
            ),
        ),
        (
            NOT_SCRIPT,
            (
                "In relax.nn.layer_norm, the first input shape at dim 1 is 3 and the second input "
                "shape at dim 1 is 5, which are not broadcastable. --> test_it.py:74:13"
            ),
        ),
        (BINARY, BINARY),
        (SCHEDULE, "Expected the block b and loop i to be under one scope"),
        (TORCH, TORCH.partition("\n")[0]),
        (
            HOST_MEMORY,
            "Memory verification failed with the following errors: Variable `T_add` is directly "
            "accessed by host memory (it is not contained in a thread environment or in the "
            "function arguments. Did you forget to bind?" + " T_add[i] = x[i]" * 5,
        ),
        (
            (
                "Check failed: (current_subtree_ == -1) is false: There should be a compute "
                "block if "
                "there is only one subtree under the root."
            ),
            "There should be a compute block if there is only one subtree under the root.",
        ),
        (
            (
                "Check failed: (data_type == PrimType::Float(32) || data_type == "
                "PrimType::Float(16)) "
                "is false: layer_norm: only support float32 and float16 for now"
            ),
            "layer_norm: only support float32 and float16 for now",
        ),
        (
            (
                "Check failed: equation_.inputs.size() == input_shapes_.size() (2 vs. 1) : "
                "Number of "
                "operands does not match the equation"
            ),
            "Number of operands does not match the equation",
        ),
        ("Check failed: (a == b) is false: ", "Check failed: (a == b) is false:"),
        (
            (
                "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add "
                "node. "
                "Name:'' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/"
                "element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, "
                "ptrdiff_t)"
                " axis == 1 || axis == largest was false. Attempting to broadcast an axis by a "
                "dimension other than 1. 2 by 3\n\n"
            ),
            "Add node: Attempting to broadcast an axis by a dimension other than 1. 2 by 3",
        ),
        (
            (
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while "
                "running Gather node. Name:'pick' Status Message: indices element out of data "
                "bounds, "
                "idx=9 must be within the inclusive range [-2,1]"
            ),
            (
                "Gather node 'pick': indices element out of data bounds, idx=9 must be within the "
                "inclusive range [-2,1]"
            ),
        ),
        (
            (
                "/project/onnx/version_converter/adapters/transformers.h:61: operator(): Assertion "
                "`node->i(attr) != value` failed: Attribute is_test must not have value 0"
            ),
            "Attribute is_test must not have value 0",
        ),
        (
            (
                "Node with schema(::Add:14) has input size 1 not in range [min=2, max=2].\n\n"
                "==> Context: Bad node spec for node. Name:  OpType: Add"
            ),
            (
                "Node with schema(::Add:14) has input size 1 not in range [min=2, max=2]. "
                "==> Context: Bad node spec for node. Name:  OpType: Add"
            ),
        ),
        (
            (
                "Compilation error:\n/usr/bin/ld: cannot find lib0.o: No such file or directory\n"
                "collect2: error: ld returned 1 exit status\n\nCommand line: g++ -shared -o m.so"
            ),
            "/usr/bin/ld: cannot find lib0.o: No such file or directory",
        ),
        (
            (
                "Compilation error:\n/usr/bin/ld: final link failed: No space left on device\n"
                "collect2: error: ld returned 1 exit status\n\nCommand line: g++ -shared -o m.so"
            ),
            "/usr/bin/ld: final link failed: No space left on device",
        ),
        (
            "Compilation error:\n\nCommand line: /bin/false -shared -o m.so",
            "Compilation error: Command line: /bin/false -shared -o m.so",
        ),
        ("Traceback\n  at f\n\nError message: no loop\n(in main)", "no loop"),
        (
            "Traceback (most recent call last):\n  File 'a'\nValueError: no\n(in main)",
            "ValueError: no",
        ),
        ("what is wrong\nits second line", "what is wrong its second line"),
        ("", "ValueError"),
    ],
)
def test_the_sentence_that_says_what_is_wrong_survives(text: str, cause: str) -> None:
    assert cause_of(ValueError(text)) == cause


def test_what_is_too_long_loses_its_middle_never_its_end() -> None:
    said = cause_of("begins " + "x" * 900 + " ends")
    assert said.startswith("begins xx")
    assert said.endswith("xx ends")
    assert len(said) == 300


def test_an_exception_without_text_is_told_by_the_line_that_raised_it() -> None:
    values: list[int] = []
    with pytest.raises(AssertionError) as caught:
        raise_bare(values)
    assert typed_cause_of(caught.value) == "AssertionError: raise AssertionError"
    assert typed_cause_of(KeyError("a")) == "KeyError: 'a'"
    assert typed_cause_of(ValueError()) == "ValueError"


def test_a_long_list_names_the_first_ones() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcd")) == "a, b, c, d"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"
