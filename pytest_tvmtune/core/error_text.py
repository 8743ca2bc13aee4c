"""The sentence of another package's error that states the problem, short enough for a message.

TVM, torch, onnx and onnxruntime put it at different places: behind a check's source text, behind
what an operator's object prints, before hints, or after a traceback.
"""

from __future__ import annotations

import re
import traceback

_MOST_CHARACTERS = 300
_HEAD_CHARACTERS = 110
_GAP = " ... "
# What stands before the sentence.
_PREFIXES = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"(?:\w+Error: )?Check failed: .*?(?:\(.*? vs\. .*?\) ?: |\) is false: )(?=\S)"),
    # onnx's own converter, with its file and line.
    re.compile(r"\S+:\d+: .*?Assertion `.*?` failed: (?=\S)"),
    re.compile(r"error: (?=In )"),
)
_ORT_NODE = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
    r"(?:\S+:\d+ .*? was false\. )?"
)
_WHOLE_NUMBER = re.compile(r"\bT\.u?int\d+\((-?\d+)\)")
_OPERATOR = re.compile(r"\bir\.Op\(")
_OPERATOR_NAME = re.compile(r'\bname="([^"]+)"')
_STRING_OR_PARENTHESIS = re.compile(r'"(?:[^"\\]|\\.)*"|[()]')
_SOURCE_LINE = re.compile(r"(?:\d+ )?\|")
_LINKER_ERROR = re.compile(
    r"error|cannot|undefined|not found|failed|multiple definition|not recognized|denied",
    re.IGNORECASE,
)


def cause_of(error: object) -> str:
    """Return what an error, or its text, says is wrong, in one line; its type when it says nothing.

    A short text is kept whole. Of a longer one it is the line behind `Error message:`, the end of
    a traceback, the first complaint of a linker, else the first paragraph. What is still too long
    loses its middle, never its end.
    """
    text = _WHOLE_NUMBER.sub(r"\1", _without_operator_objects(str(error)))
    lines = [line.strip() for line in text.strip().splitlines()]
    said = _sentence(lines)
    for prefix in _PREFIXES:
        said = prefix.sub("", said, count=1) if prefix.match(said) else said
    said = _ORT_NODE.sub(_ort_node, said)
    return _shortened(said) or type(error).__name__


def typed_cause_of(error: BaseException) -> str:
    """Return an exception's type and cause; of one without text, the line of code that raised it.

    A bare assertion says nothing else.
    """
    name = type(error).__name__
    if str(error).strip():
        return f"{name}: {cause_of(error)}"
    raised_at = traceback.extract_tb(error.__traceback__)[-1:]
    return ": ".join([name, *(_shortened(frame.line) for frame in raised_at if frame.line)])


def _sentence(lines: list[str]) -> str:
    kept = [line for line in lines if line and not _SOURCE_LINE.match(line)]
    marked = [line for line in kept if line.startswith("Error message: ")]
    if marked:
        return marked[-1].removeprefix("Error message: ").removeprefix("ScheduleError: ")
    if kept and kept[0].startswith("Traceback"):
        # TVM adds a remark in parentheses.
        return next((line for line in reversed(kept) if not line.startswith("(")), "")
    if kept and kept[0] == "Compilation error:":
        return next((line for line in kept[1:] if _LINKER_ERROR.search(line)), " ".join(kept))
    whole = " ".join(kept)
    if len(whole) <= _MOST_CHARACTERS:
        return whole
    paragraph = ""
    for line in lines:
        if paragraph.endswith(":") or not paragraph:
            paragraph = f"{paragraph} {line}".strip()
        elif not line or len(paragraph) + 1 + len(line) > _MOST_CHARACTERS:
            break
        else:
            paragraph += f" {line}"
    return paragraph


def _without_operator_objects(text: str) -> str:
    """Return the text with the name of each operator where TVM prints all that it knows of it."""
    while (found := _OPERATOR.search(text)) is not None:
        depth, end = 1, len(text)
        for part in _STRING_OR_PARENTHESIS.finditer(text, found.end()):
            depth += {"(": 1, ")": -1}.get(part[0], 0)
            if not depth:
                end = part.end()
                break
        name = _OPERATOR_NAME.search(text, found.end(), end)
        text = text[: found.start()] + (name[1] if name else "an operator") + text[end:]
    return text


def _ort_node(found: re.Match[str]) -> str:
    operator, name = found.groups()
    return f"{operator} node{f' {name!r}' if name else ''}: "


def _shortened(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return text
    tail = _MOST_CHARACTERS - _HEAD_CHARACTERS - len(_GAP)
    return text[:_HEAD_CHARACTERS].rstrip() + _GAP + text[-tail:].lstrip()
