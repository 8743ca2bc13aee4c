"""Tuning records: one small line-oriented file a workload.

Line kinds (JSON, one a line): `workload` (once; its IR), `record` (a measured schedule in
MetaSchedule's own JSON), `served` (the ledger: requests completed for this workload, whatever
came of them). Files merge line by line. TVM never sees a line that was not parsed here.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pytest_tvmtune.core.environment import minor
from pytest_tvmtune.store.atomic import set_aside, write_text
from pytest_tvmtune.store.layout import Store, slug
from pytest_tvmtune.store.locks import folder_lock

KEPT_RECORDS = 8
# MetaSchedule stores a failed candidate with this run time.
_FAILED_S = 1e9


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured schedule. data: MetaSchedule's [trace, run_secs, target, args_info]."""

    data: list[Any]
    cpu: str
    cores: int
    num_threads: int

    @property
    def mean_s(self) -> float:
        """Mean measured seconds of one call, as MetaSchedule ranks records."""
        return fmean(self.data[1])

    @property
    def digest(self) -> str:
        """What identifies the schedule, whatever it measured."""
        return hashlib.sha256(json.dumps(self.data[0]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A completed request: trials and cap asked for the model, trials spent on this workload."""

    trials: int
    max_trials_per_task: int | None
    spent: int
    valid: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """All that is known of one workload on one target.

    ir: MetaSchedule's own serialisation. records: valid ones, best first.
    """

    shash: str
    name: str
    ir: str
    records: tuple[Record, ...] = ()
    served: tuple[Served, ...] = ()

    def is_enough(self, trials: int, max_trials_per_task: int | None) -> bool:
        """Whether a request at least as large was completed, whatever came of it."""
        return any(
            done.trials >= trials
            and (
                done.max_trials_per_task is None
                or (
                    max_trials_per_task is not None
                    and done.max_trials_per_task >= max_trials_per_task
                )
            )
            for done in self.served
        )

    def best(self, cpu: str) -> Record | None:
        """Return the best record measured on this CPU model, else the best of any."""
        own = [record for record in self.records if record.cpu == cpu]
        return min(own or self.records, key=lambda record: record.mean_s, default=None)


def target_key(target_json: str, tvm_version: str) -> str:
    """Return the folder name of a canonical target: without num-cores, with TVM's minor."""
    config = {key: value for key, value in json.loads(target_json).items() if key != "num-cores"}
    text = json.dumps(config, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{slug(str(config.get('kind', 'target')))}-tvm{minor(tvm_version)}-{digest}"


def read_workload(store: Store, key: str, shash: str) -> Workload | None:
    """Return what is known of a workload, or None.

    A damaged file is set aside, its valid lines kept, with one warning that names it.
    """
    path = _path(store, key, shash)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    workload, problem = _parse(shash, text)
    if problem:
        with folder_lock(store.tuning / key):
            # Read again: another process may have repaired it, and added to it, meanwhile.
            return _read_repaired(path, shash)
    return workload


def add_to_workload(
    store: Store,
    key: str,
    workload: Workload,
) -> Workload:
    """Merge `workload`'s records and ledger lines into the stored file; return the whole.

    Safe under concurrent processes.
    """
    with folder_lock(store.tuning / key):
        path = _path(store, key, workload.shash)
        stored = _read_repaired(path, workload.shash)
        merged = workload if stored is None else merge(stored, workload)
        if merged != stored:
            _write(path, merged)
        return merged


def merge(one: Workload, other: Workload) -> Workload:
    """Return both files' knowledge: the best records of each CPU, every ledger line once."""
    best: dict[tuple[str, str], Record] = {}
    for record in (*one.records, *other.records):
        slot = (record.cpu, record.digest)
        if slot not in best or record.mean_s < best[slot].mean_s:
            best[slot] = record
    return Workload(
        shash=one.shash,
        name=one.name,
        ir=one.ir,
        records=keep_best(best.values()),
        served=tuple(dict.fromkeys((*one.served, *other.served))),
    )


def keep_best(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the best records of each CPU model, best first."""
    kept: list[Record] = []
    per_cpu: dict[str, int] = {}
    for record in sorted(records, key=lambda record: (record.mean_s, record.digest)):
        per_cpu[record.cpu] = per_cpu.get(record.cpu, 0) + 1
        if per_cpu[record.cpu] <= KEPT_RECORDS:
            kept.append(record)
    return tuple(kept)


def _path(store: Store, key: str, shash: str) -> Path:
    return store.tuning / key / f"{shash}.jsonl"


def _read_repaired(path: Path, shash: str) -> Workload | None:
    """Return what is in a file, damage set aside. Whoever calls it holds the folder's lock."""
    if not path.is_file():
        return None
    workload, problem = _parse(shash, path.read_bytes())
    if problem:
        told = set_aside(path, problem)
        if workload is not None:
            _write(path, workload)
        # Last: under filterwarnings=error it raises.
        warnings.warn(f"tuning store: {told}", stacklevel=3)
    return workload


def _write(path: Path, workload: Workload) -> None:
    lines = [{"kind": "workload", "name": workload.name, "ir": workload.ir}]
    lines += [{"kind": "record", **asdict(record)} for record in workload.records]
    lines += [{"kind": "served", **asdict(served)} for served in workload.served]
    write_text(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def _parse(shash: str, content: bytes) -> tuple[Workload | None, str]:
    """Return the workload in a file, and what is wrong with the file ("" when nothing is)."""
    name = ir = ""
    records: list[Record] = []
    served: list[Served] = []
    problem = ""
    for number, line in enumerate(content.splitlines(), start=1):
        row = load_line(line)
        try:
            kind = row.pop("kind")
            if kind == "workload" and _are(str, row["name"], row["ir"]):
                name, ir = row["name"], row["ir"]
            elif kind == "record" and is_valid_record(row["data"]) and _are(str, row["cpu"]):
                records.append(Record(**row))
            elif (
                kind == "served"
                and _are(int, row["trials"], row["spent"], row["valid"])
                and _are((int, type(None)), row["max_trials_per_task"])
                and _are(str, row["reason"])
            ):
                served.append(Served(**row))
            else:
                problem = problem or f"line {number}"
        except (AttributeError, KeyError, TypeError):
            problem = problem or f"line {number}"
    if content and not content.endswith(b"\n"):
        problem = problem or "truncated"
    if not ir:
        return None, problem or "no workload line"
    workload = Workload(
        shash=shash, name=name, ir=ir, records=keep_best(records), served=tuple(served)
    )
    return workload, problem


def load_line(line: bytes) -> Any:
    """Return the JSON value in a line, None when there is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _are(kind: type | tuple[type, ...], *values: object) -> bool:
    return all(isinstance(value, kind) for value in values)


def is_valid_record(data: Any) -> bool:
    """Tell whether this is a candidate that ran: [trace, run_secs, target, args_info]."""
    return (
        isinstance(data, list)
        and len(data) == 4
        and isinstance(data[0], list)
        and isinstance(data[1], list)
        and bool(data[1])
        and all(isinstance(s, (int, float)) and 0 <= s < _FAILED_S for s in data[1])
        and isinstance(data[2], dict)
        and isinstance(data[3], list)
    )
