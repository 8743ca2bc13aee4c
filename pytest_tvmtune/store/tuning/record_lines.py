"""The lines of a workload's file: JSON, one a line, so that files merge line by line.

Kinds: `workload` (whose file it is, and its IR), `record`, `untuned`, `preferred`, `served`,
`refused`, and at the end, where there is a key, `signature`. TVM never sees a line that was not
parsed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from pytest_tvmtune.core.json_codec import from_json_values, to_json_values
from pytest_tvmtune.store.signing import signatures
from pytest_tvmtune.store.tuning.records import (
    LedgerLine,
    Preferred,
    Record,
    Refused,
    Untuned,
    Workload,
    is_valid_record,
    merge,
)
from pytest_tvmtune.store.tuning.trace_trust import brings_code, external_calls

FORMAT = 1
_SIGNATURE = b'{"hmac": '


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The line that says whose file it is."""

    format: int
    key: str
    shash: str
    name: str
    ir: str


@dataclass(frozen=True, kw_only=True)
class _SignatureLine:
    hmac: str


_Line = _Head | Record | Untuned | Preferred | LedgerLine | Refused | _SignatureLine
_KINDS: Mapping[str, type[_Line]] = {
    "workload": _Head,
    "record": Record,
    "untuned": Untuned,
    "preferred": Preferred,
    "served": LedgerLine,
    "refused": Refused,
    "signature": _SignatureLine,
}
_Known = TypeVar("_Known", bound=_Line)


def dump(key: str, workload: Workload) -> str:
    """Return the text of a workload's file in the folder `key`."""
    return sign_lines(_what(key, workload.shash), body(key, workload))


def body(key: str, workload: Workload) -> str:
    """Return a workload's lines, unsigned."""
    head = _Head(format=FORMAT, key=key, shash=workload.shash, name=workload.name, ir=workload.ir)
    lines: tuple[_Line, ...] = (
        head,
        *workload.records,
        *workload.untuned,
        *workload.preferred,
        *workload.served,
        *workload.refused,
    )
    return "".join(_text(line) for line in lines)


def sign_lines(what: str, text: str) -> str:
    """Return lines with their signature as the last line, where there is a key."""
    signed = signatures.signature(what, text.encode())
    return text if signed is None else text + _text(_SignatureLine(hmac=signed))


def _text(line: _Line) -> str:
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(line, cls))
    values = to_json_values(line)
    if values.get("max_time_s", 0.0) is None:
        del values["max_time_s"]  # earlier versions of this package don't know the key
    return json.dumps({"kind": kind, **values}, sort_keys=True) + "\n"


def _what(key: str, shash: str) -> str:
    return f"tuning {key}/{shash}"


def parse(
    key: str, shash: str, content: bytes, *, check_signature: bool = True
) -> tuple[Workload | None, str]:
    """Return the workload in a file, and the file's problems ("" if it has none).

    All sound lines are kept. Nothing is kept without a sound `workload` line. Where there is a key,
    nothing is kept of a file that it didn't sign.
    """
    try:
        if check_signature:
            check_lines(_what(key, shash), content)
    except ValueError as error:
        return None, str(error)
    lines: list[_Line] = []
    problems = []
    for number, content_of_line in enumerate(content.splitlines(), start=1):
        try:
            line = _parsed(content_of_line)
            _check(line, key, shash, content_of_line)
            lines.append(line)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if content and not content.endswith(b"\n"):
        problems.append("truncated")
    heads, records = _of(_Head, lines), _of(Record, lines)
    if not heads:
        return None, problems[0] if problems else "it has no workload line"
    head = heads[-1]
    if records and (called := external_calls(head.ir)):
        problems.append(f"records refused: their IR calls external functions ({', '.join(called)})")
        records = ()
    found = Workload(
        shash=shash,
        name=head.name,
        ir=head.ir,
        records=records,
        served=_of(LedgerLine, lines),
        refused=_of(Refused, lines),
        untuned=_of(Untuned, lines),
        preferred=_of(Preferred, lines),
    )
    return merge(found), problems[0] if problems else ""


def _of(cls: type[_Known], lines: Iterable[_Line]) -> tuple[_Known, ...]:
    return tuple(line for line in lines if isinstance(line, cls))


def check_lines(what: str, content: bytes) -> None:
    """Raise ValueError if there is a key and the last line isn't the signature of the others."""
    start = max(content.rfind(_SIGNATURE), 0)
    last = content[start:].rstrip(b"\n")
    # One line: JSON may go over several, of which each would be read as a line of its own.
    whole = len(last.splitlines()) == 1 and (start == 0 or content[start - 1 : start] == b"\n")
    row = load_line(last) if whole else None
    given = row.get("hmac") if isinstance(row, dict) else None
    signatures.verify(what, content if given is None else content[:start], given)


def _parsed(content: bytes) -> _Line:
    """Return the value in a line. Raises ValueError."""
    row = load_line(content)
    kind = row.pop("kind", None) if isinstance(row, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError("not a line of a tuning file")
    # The signature's own line is not signed: nothing else may be in it, nor a signature in another.
    if surplus := row.keys() - {field.name for field in fields(_KINDS[kind])}:
        raise ValueError(f"not a {kind}: it has the unknown key {min(surplus)!r}")
    try:
        return from_json_values(row, _KINDS[kind])
    except ValueError as error:
        raise ValueError(f"not a {kind}: {error}") from None


def _check(line: _Line, key: str, shash: str, content: bytes) -> None:
    """Raise ValueError for a line that this workload's file can't have, or that isn't trusted."""
    if isinstance(line, _Head):
        if line.format != FORMAT:
            raise ValueError(f"it has format {line.format}, and this version reads format {FORMAT}")
        if (line.key, line.shash) != (key, shash):
            raise ValueError(f"it belongs to {line.key}/{line.shash}")
        external_calls(line.ir)
    elif isinstance(line, LedgerLine) and line.valid > line.spent:
        raise ValueError("it has more valid trials than spent trials")
    elif isinstance(line, Record):
        if not is_valid_record(line.data):
            raise ValueError("not a valid record")
        if brings_code(line.data[0], content.decode()):
            raise ValueError("refused: its trace contains code")


def load_line(line: bytes) -> Any:
    """Return the JSON value in a line of UTF-8, None without a valid value."""
    try:
        # Decoded here: given bytes, json takes UTF-16 too, which would hide code from trace_trust.
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
