"""Tuning records as values: what is known of one workload on one target, and how it is merged."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from statistics import fmean
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from pytest_tvmtune.core.json_codec import Count
from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.store.layout import slug

_OfMachine = TypeVar("_OfMachine", "Untuned", "Preferred")
KEPT_RECORDS = 8
# MetaSchedule stores a failed candidate with this run time.
_FAILED_S = 1e9
_KEY = re.compile(r"(?P<kind>.+)-tvm(?P<minor>[^-]+)-(?P<digest>[0-9a-f]{12})")
# Seconds since 1970, to the year 9999: what a calendar can show.
_Time = Annotated[float, Meta(ge=0, lt=253_370_764_800)]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured schedule. data: MetaSchedule's [trace, run_secs, target, args_info].

    num_threads: what TVM's runtime really used while it was measured. at_s: when that was, in
    seconds since 1970; of one schedule on one CPU the last measurement counts. replayed_from: where
    the schedule and its times come from, such as another version of TVM; "" for a measurement of
    this workload.
    """

    data: list[Any]
    cpu: str
    cores: int
    num_threads: int
    at_s: _Time
    replayed_from: str = ""

    @property
    def mean_s(self) -> float:
        """Mean measured seconds of one call, as MetaSchedule ranks records."""
        return fmean(self.data[1])

    @cached_property
    def digest(self) -> str:
        """The identity of the schedule, regardless of its measured times."""
        return hashlib.sha256(json.dumps(self.data[0]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """One tuning run's line in the ledger.

    run_id: the same in every line that a run writes, of which the last counts. at_s: when, in
    seconds since 1970. trials, max_trials_per_task: what was asked for the whole model. spent,
    valid: trials on this workload so far. complete: the request was served to its end, with any
    result. reason: why it has no valid result. environment: with which TVM and compiler, by
    content, "" where that is unknown. max_time_s: the limit that ended it, None where none did.
    """

    run_id: str
    at_s: _Time
    trials: int
    max_trials_per_task: int | None
    spent: Count
    valid: Count
    complete: bool
    reason: str = ""
    environment: str = ""
    max_time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Untuned:
    """What a call takes without any schedule, on one machine: what a record has to beat there."""

    run_s: Annotated[float, Meta(gt=0, le=sys.float_info.max)]
    cpu: str
    cores: int
    num_threads: int
    at_s: _Time


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """A schedule that makes a model faster than the schedule that is the fastest alone.

    digest, over: the records of both, "" for the untuned kernel. It counts as long as `over` is the
    fastest on this machine.
    """

    digest: str
    over: str
    cpu: str
    num_threads: int
    at_s: _Time


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A schedule that isn't used again: it didn't apply or build, or computed other values.

    digest: the record's.
    """

    digest: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Workload:
    """All that is known of one workload on one target.

    ir: MetaSchedule's serialization. records: valid records that were not refused, best first.
    untuned, preferred: one for each CPU model and number of threads.
    """

    shash: str
    name: str
    ir: str
    records: tuple[Record, ...] = ()
    served: tuple[LedgerLine, ...] = ()
    refused: tuple[Refused, ...] = ()
    untuned: tuple[Untuned, ...] = ()
    preferred: tuple[Preferred, ...] = ()

    @property
    def spent(self) -> int:
        """Trials spent on this workload, those of interrupted runs included."""
        return sum(line.spent for line in self.served)

    @property
    def valid(self) -> int:
        """How many of them gave a measurement."""
        return sum(line.valid for line in self.served)

    def is_enough(
        self,
        trials: int,
        max_trials_per_task: int | None,
        *,
        max_time_s: float | None = None,
        environment: str = "",
        since_s: float = 0.0,
    ) -> bool:
        """Whether a request at least as large was completed since `since_s`.

        Args:
            trials: Trials that are asked for the whole model.
            max_trials_per_task: The cap on one task, None without one.
            max_time_s: The limit of the time for the whole model, None without one.
            environment: As `LedgerLine` has it. A request that gave nothing, for a reason, is
                enough in its own environment only: TVM or the compiler may have failed.
            since_s: In seconds since 1970.
        """
        return any(
            done.complete
            and (not done.reason or done.environment == environment)
            and done.trials >= trials
            and done.at_s >= since_s
            and _is_within(max_trials_per_task, done.max_trials_per_task)
            and _is_within(max_time_s, done.max_time_s)
            for done in self.served
        )

    def fastest(self, cpu: str) -> Record | None:
        """Return the best record measured on this CPU model, else the best of any.

        Of this CPU's, a replayed one counts only where no other is known.
        """
        own = [record for record in self.records if record.cpu == cpu]
        measured = [record for record in own if not record.replayed_from]
        return min(measured or own or self.records, key=lambda record: record.mean_s, default=None)

    def best(self, cpu: str) -> Record | None:
        """Return the record to apply: the fastest, unless the untuned kernel was faster there.

        What was preferred to it inside a model takes its place.
        """
        fastest = self.fastest(cpu)
        if fastest is None:
            return None
        untuned_s = self.untuned_s(fastest.cpu, fastest.num_threads)
        alone = fastest if fastest.mean_s < untuned_s else None
        over = alone.digest if alone else ""
        for one in self.preferred:
            if (one.cpu, one.num_threads, one.over) == (cpu, fastest.num_threads, over):
                # Without its record, it was refused or has left the best ones.
                own = [record for record in self.records if record.cpu == cpu]
                known = {record.digest: record for record in own}
                return known.get(one.digest, alone) if one.digest else None
        return alone

    def deployed(self, cpu: str) -> Workload:
        """Return what a stock work_dir may hold of it: nothing that stock would rank before."""
        best = self.best(cpu)
        if best is None:
            return replace(self, records=())
        after = [one for one in self.records if one.mean_s >= best.mean_s and one != best]
        return replace(self, records=(best, *after))

    def untuned_s(self, cpu: str, num_threads: int) -> float:
        """Return the seconds of a call without a schedule, infinity where that isn't known."""
        known = {(one.cpu, one.num_threads): one.run_s for one in self.untuned}
        return known.get((cpu, num_threads), math.inf)


def _is_within(asked: float | None, served: float | None) -> bool:
    """Return whether a limit is at most the other limit; None is no limit."""
    return served is None or (asked is not None and asked <= served)


def target_key(target_json: str, tvm_version: str) -> str:
    """Return the folder name of a canonical target: without num-cores, with TVM's minor."""
    text = comparable_target(target_json)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    kind = slug(str(json.loads(text).get("kind", "target")))
    return f"{kind}-tvm{minor(tvm_version)}-{digest}"


def version_in_key(key: str) -> str:
    """Return the minor version of TVM in a target key, "" where there is none."""
    found = _KEY.fullmatch(key)
    return found["minor"] if found else ""


def keys_of_other_versions(key: str) -> str:
    """Return the pattern of this target's keys under other versions of TVM, for `glob`."""
    found = _KEY.fullmatch(key)
    return f"{found['kind']}-tvm*-{found['digest']}" if found else key


def is_other_version(key: str, other: str) -> bool:
    """Return whether a key is that of the same target under another version of TVM."""
    return other != key and fnmatchcase(other, keys_of_other_versions(key))


def comparable_target(target_json: str) -> str:
    """Return a canonical target without num-cores, which changes no code."""
    config = {key: value for key, value in json.loads(target_json).items() if key != "num-cores"}
    return json.dumps(config, sort_keys=True)


def merge(one: Workload, *others: Workload) -> Workload:
    """Return what all of them know: the best records of each CPU, each run's last ledger line."""
    every = (one, *others)
    refused = {line.digest: line for known in reversed(every) for line in known.refused}
    return Workload(
        shash=one.shash,
        name=one.name,
        ir=one.ir,
        records=keep_best(
            record
            for known in every
            for record in known.records
            if not refused or record.digest not in refused
        ),
        served=_last_lines(line for known in every for line in known.served),
        refused=tuple(refused[digest] for digest in sorted(refused)),
        untuned=_last_of_each_machine(one for known in every for one in known.untuned),
        preferred=_last_of_each_machine(one for known in every for one in known.preferred),
    )


def keep_best(records: Iterable[Record], most: int = KEPT_RECORDS) -> tuple[Record, ...]:
    """Return the best records of each CPU model, each schedule once, best first."""
    last: dict[tuple[str, str], Record] = {}
    for record in records:
        known = last.setdefault((record.cpu, record.digest), record)
        if (record.at_s, -record.mean_s) > (known.at_s, -known.mean_s):
            last[record.cpu, record.digest] = record
    kept: list[Record] = []
    of_cpu: Counter[str] = Counter()
    for record in sorted(last.values(), key=lambda one: (one.mean_s, one.digest, one.cpu)):
        of_cpu[record.cpu] += 1
        if of_cpu[record.cpu] <= most:
            kept.append(record)
    return tuple(kept)


def _last_lines(lines: Iterable[LedgerLine]) -> tuple[LedgerLine, ...]:
    """Return the last line of each run, in order of time."""
    last: dict[str, LedgerLine] = {}
    for line in lines:
        known = last.get(line.run_id)
        if known is None or (known.complete, known.spent) < (line.complete, line.spent):
            last[line.run_id] = line
    return tuple(sorted(last.values(), key=lambda line: (line.at_s, line.run_id)))


def _last_of_each_machine(found: Iterable[_OfMachine]) -> tuple[_OfMachine, ...]:
    """Return the last measurement on each CPU model with each number of threads."""
    last: dict[tuple[str, int], _OfMachine] = {}
    for one in found:
        known = last.setdefault((one.cpu, one.num_threads), one)
        # What was measured at the same time is ranked by its text, in any order the same.
        if (one.at_s, repr(one)) > (known.at_s, repr(known)):
            last[one.cpu, one.num_threads] = one
    return tuple(last[key] for key in sorted(last))


def is_valid_record(data: Any) -> bool:
    """Return whether this is a candidate that ran: [trace, run_secs, target, args_info]."""
    return (
        isinstance(data, list)
        and len(data) == 4
        and isinstance(data[0], list)
        and isinstance(data[1], list)
        and bool(data[1])
        and all(type(s) in (int, float) and 0 <= s < _FAILED_S for s in data[1])
        and isinstance(data[2], dict)
        and isinstance(data[3], list)
    )
