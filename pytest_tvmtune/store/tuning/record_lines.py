"""The lines of a workload's file: JSON, one a line, so that files merge line by line.

Kinds: `workload` (whose file it is, and its IR), `record`, `untuned`, `served`, `refused`, and at
the end, where there is a key, `signature`. TVM never sees a line that was not parsed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from pytest_tvmtune.store.signing import signatures
from pytest_tvmtune.store.tuning.records import (
    LedgerLine,
    Record,
    Refused,
    Untuned,
    Workload,
    is_valid_record,
    merge,
)
from pytest_tvmtune.store.tuning.trace_trust import brings_code, external_calls

FORMAT = 1
# The year 9999, in seconds since 1970: what a calendar can show.
_LAST_S = 253_370_764_800
# Exact types: JSON's true is no integer.
_INT, _STR = (int,), (str,)
_FIELDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "workload": {"format": _INT, "key": _STR, "shash": _STR, "name": _STR, "ir": _STR},
    "record": {
        "data": (list,),
        "cpu": _STR,
        "cores": _INT,
        "num_threads": _INT,
        "at_s": (int, float),
    },
    "served": {
        "run_id": _STR,
        "at_s": (int, float),
        "trials": _INT,
        "max_trials_per_task": (int, type(None)),
        "spent": _INT,
        "valid": _INT,
        "complete": (bool,),
        "reason": _STR,
        "environment": _STR,
    },
    "untuned": {
        "run_s": (int, float),
        "cpu": _STR,
        "cores": _INT,
        "num_threads": _INT,
        "at_s": (int, float),
    },
    "refused": {"digest": _STR, "reason": _STR},
    "signature": {"hmac": _STR},
}
# Fields that files from before they were there come without.
_LATER: Mapping[str, frozenset[str]] = {"served": frozenset({"environment"})}
_SIGNATURE = b'{"hmac": '


def dump(key: str, workload: Workload) -> str:
    """Return the text of a workload's file in the folder `key`."""
    return sign_lines(_what(key, workload.shash), body(key, workload))


def body(key: str, workload: Workload) -> str:
    """Return a workload's lines, unsigned."""
    head = {"format": FORMAT, "key": key, "shash": workload.shash}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("workload", {**head, "name": workload.name, "ir": workload.ir})
    ]
    rows += [("record", asdict(record)) for record in workload.records]
    rows += [("untuned", asdict(one)) for one in workload.untuned]
    rows += [("served", asdict(line)) for line in workload.served]
    rows += [("refused", asdict(line)) for line in workload.refused]
    return "".join(_line(kind, row) for kind, row in rows)


def sign_lines(what: str, text: str) -> str:
    """Return lines with their signature as the last one, where there is a key."""
    signed = signatures.signature(what, text.encode())
    return text if signed is None else text + _line("signature", {"hmac": signed})


def _line(kind: str, row: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **row}, sort_keys=True) + "\n"


def _what(key: str, shash: str) -> str:
    return f"tuning {key}/{shash}"


def parse(
    key: str, shash: str, content: bytes, *, check_signature: bool = True
) -> tuple[Workload | None, str]:
    """Return the workload in a file, and what is wrong with the file ("" when nothing is).

    Whatever is sound is kept; without a sound `workload` line nothing is, nor, where there is a
    key, of what it didn't sign.
    """
    try:
        if check_signature:
            check_lines(_what(key, shash), content)
    except ValueError as error:
        return None, str(error)
    head: dict[str, Any] = {}
    records: list[Record] = []
    served: list[LedgerLine] = []
    refused: list[Refused] = []
    untuned: list[Untuned] = []
    add: dict[str, Callable[[dict[str, Any]], None]] = {
        "workload": head.update,
        "record": lambda row: records.append(Record(**row)),
        "served": lambda row: served.append(LedgerLine(**row)),
        "untuned": lambda row: untuned.append(Untuned(**row)),
        "refused": lambda row: refused.append(Refused(**row)),
        "signature": lambda _row: None,
    }
    problems = []
    for number, line in enumerate(content.splitlines(), start=1):
        row = load_line(line)
        kind = row.pop("kind", None) if isinstance(row, dict) else None
        problem = _problem(kind, row, key, shash, line)
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            add[str(kind)](row)
    if content and not content.endswith(b"\n"):
        problems.append("truncated")
    if not head:
        return None, problems[0] if problems else "no workload line"
    if records and (called := external_calls(head["ir"])):
        problems.append(f"records refused, their IR calls external functions ({', '.join(called)})")
        records = []
    found = Workload(
        shash=shash,
        name=head["name"],
        ir=head["ir"],
        records=tuple(records),
        served=tuple(served),
        refused=tuple(refused),
        untuned=tuple(untuned),
    )
    return merge(found), problems[0] if problems else ""


def check_lines(what: str, content: bytes) -> None:
    """Raise ValueError when there is a key and the last line isn't the others' signature."""
    start = max(content.rfind(_SIGNATURE), 0)
    last = content[start:].rstrip(b"\n")
    # One line: JSON may go over several, of which each would be read as a line of its own.
    whole = len(last.splitlines()) == 1 and (start == 0 or content[start - 1 : start] == b"\n")
    row = load_line(last) if whole else None
    given = row.get("hmac") if isinstance(row, dict) else None
    signatures.verify(what, content if given is None else content[:start], given)


def _problem(kind: object, row: Any, key: str, shash: str, line: bytes) -> str:
    """Return what is wrong with one line's values, "" when nothing is."""
    fields = _FIELDS.get(str(kind))
    if fields is None:
        return "not a line of ours"
    lacking, unknown = set(fields) - set(row), set(row) - set(fields)
    complete = not unknown and lacking <= _LATER.get(str(kind), frozenset())
    if not complete or not all(type(value) in fields[name] for name, value in row.items()):
        return f"not a {kind}"
    if kind == "workload":
        return _workload_problem(row, key, shash)
    times = 0 <= row.get("at_s", 0) < _LAST_S and 0 < row.get("run_s", 1) < math.inf
    if not times or not 0 <= row.get("valid", 0) <= row.get("spent", 0):
        return "counts or a time that can't be"
    return _record_problem(row["data"], line.decode()) if kind == "record" else ""


def _workload_problem(row: Any, key: str, shash: str) -> str:
    if row["format"] != FORMAT:
        return f"format {row['format']}, this version reads {FORMAT}"
    if (row["key"], row["shash"]) != (key, shash):
        return f"it belongs to {row['key']}/{row['shash']}"
    try:
        external_calls(row["ir"])
    except ValueError as error:
        return str(error)
    return ""


def _record_problem(data: list[Any], text: str) -> str:
    if not is_valid_record(data):
        return "not a valid record"
    return "refused, its trace brings code along" if brings_code(data[0], text) else ""


def load_line(line: bytes) -> Any:
    """Return the JSON value in a line of UTF-8, None when there is none."""
    try:
        # Decoded here: given bytes, json takes UTF-16 too, which hides what trust.py looks for.
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
