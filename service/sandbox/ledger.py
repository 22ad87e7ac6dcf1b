"""The sandbox rail's ledger in SQLite: instructions, movements and owed notifications, durable before they are acknowledged."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from service.private_files import make_private
from service.sandbox.faults import NONE, Faults, RandomFaults, for_attempt, parse_faults
from service.sandbox.schema import SCHEMA

Kind = Literal["refund", "void"]
BATCH_MAX = 200  # rows that one pass of the clock or of the notifier takes
RETRY_MS_FIRST = 500
RETRY_MS_MAX = 60_000
RETURN_CODE = "account_closed"
CANCEL_CODE = "cancelled"
WORKING = "working"  # what is next for a key that was heard and is slowly being dealt with


class Status(StrEnum):
    pending = "pending"  # accepted; moves when it is due
    succeeded = "succeeded"  # moved
    declined = "declined"  # will never move: refused, or cancelled while it waited
    requires_action = "requires_action"  # waits for somebody
    settled = "settled"  # a void that found the payment captured; nothing moved
    returned = "returned"  # moved, and came back


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What a caller asks to have moved; all of it is bound to the key for ever."""

    kind: Kind
    rail_key: str
    payment_reference: str
    provider_reference: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One key's entry in the ledger; `status` is None while nothing was decided, `at_ms` is when it last changed."""

    instruction: Instruction
    attempts: int
    status: Status | None
    working: bool  # heard, and not decided yet
    failure_code: str | None
    return_after_ms: int | None
    copies: int  # notifications to send of each word: 0, 1 or 2
    at_ms: int

    @classmethod
    def read(cls, row: sqlite3.Row) -> Self:
        return cls(
            instruction=Instruction(**{name: row[name] for name in Instruction.__slots__}),
            attempts=row["attempts"],
            status=None if row["status"] is None else Status(row["status"]),
            working=row["next_status"] == WORKING,
            failure_code=row["failure_code"],
            return_after_ms=row["return_after_ms"],
            copies=row["copies"],
            at_ms=row["at_ms"],
        )


@dataclass(frozen=True, slots=True)
class SendResult:
    """An attempt, with the faults that befall it; the entry has an outcome unless they stand before it."""

    faults: Faults
    entry: LedgerEntry


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The key is bound to other content; nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    seq: int
    rail_key: str
    kind: Kind
    payment_reference: str
    amount: int
    currency: str
    at_ms: int
    returned_ms: int | None


@dataclass(frozen=True, slots=True)
class OwedNotification:
    """One delivery owed to the receiver of notifications."""

    seq: int
    rail_key: str
    body: str
    attempts: int


class Ledger:
    """The ledger in SQLite. Every method is one short piece of work, to be run by `commit`."""

    def __init__(self, path: Path, *, notifies: bool) -> None:
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if file == path or file.exists():
                make_private(file)  # SQLite gives the other two the rights of the first when it makes them
        self._sql = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)  # by one thread at a time
        self._sql.row_factory = sqlite3.Row
        self._sql.execute("pragma journal_mode = wal")
        self._sql.execute("pragma synchronous = full")  # an acknowledged movement survives the machine, not only the process
        self._sql.executescript(SCHEMA)
        self._notifies = notifies
        self.random_faults = self._stored_random_faults()

    def execute(self, statement: str) -> None:
        self._sql.execute(statement)

    def commit(self, works: "Sequence[Callable[[Ledger], Any]]") -> list[Any]:  # each result is of its own work's type
        """Run all in one transaction, with a savepoint for each: the result of each, or its error if nothing of it is kept."""
        try:
            self._sql.execute("begin immediate")
            results = [self._in_savepoint(work) for work in works]
            self._sql.execute("commit")
        except Exception as error:
            self._roll_back()
            return [error for _ in works]
        return results

    def _in_savepoint(self, work: "Callable[[Ledger], Any]") -> Any:
        self._sql.execute("savepoint work")
        try:
            result = work(self)
        except Exception as error:
            self._sql.execute("rollback to work")
            result = error
        self._sql.execute("release work")
        return result

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # a disk that is away now may be back for the next transaction
            if self._sql.in_transaction:
                self._sql.execute("rollback")
            self.random_faults = self._stored_random_faults()  # it may have been part of the transaction

    def close(self) -> None:
        self._sql.close()

    def _stored_random_faults(self) -> RandomFaults:
        row = self._sql.execute("select value from settings where name = 'faults'").fetchone()
        if row is None:
            return RandomFaults()
        stored = json.loads(row["value"])
        return RandomFaults(rate=stored["rate"], kinds=tuple(stored["kinds"]), seed=stored["seed"])

    # -- what callers ask -------------------------------------------------------------------------------------------

    def send(self, instruction: Instruction, now_ms: int) -> SendResult | KeyReused:
        """Count the attempt and, unless a fault stands before it, make the effect. Raises UnreadableFault."""
        requested = parse_faults(instruction.provider_reference)
        known = self.find(instruction.rail_key)
        if known is not None and known.instruction != instruction:
            return KeyReused()
        row = self._sql.execute(
            "insert into operations (kind, rail_key, payment_reference, provider_reference, amount, currency, at_ms) values (?,?,?,?,?,?,?)"
            " on conflict (rail_key) do update set attempts = attempts + 1 returning *",
            (*(getattr(instruction, name) for name in Instruction.__slots__), now_ms),
        ).fetchone()
        entry = LedgerEntry.read(row)
        faults = for_attempt(requested, self.random_faults.draw("send", instruction.rail_key, entry.attempts), entry.attempts)
        if faults.unavailable or faults.timeout_before_effect or entry.status is not None:
            return SendResult(faults, entry)
        if faults.slow_ms:
            # It is at work from now on, and will come to its end even if the caller has gone, or this process with it.
            working = "update operations set next_status = ?, due_ms = coalesce(due_ms, ?) where rail_key = ? returning *"
            row = self._sql.execute(working, (WORKING, now_ms + faults.slow_ms, instruction.rail_key)).fetchone()
            return SendResult(faults, LedgerEntry.read(row))
        return SendResult(faults, self.decide(instruction.rail_key, faults, now_ms))

    def decide(self, rail_key: str, faults: Faults, now_ms: int) -> LedgerEntry:
        """Decide what becomes of a key, once; afterwards what was decided stands."""
        entry = self._entry(rail_key)
        if entry.status is not None:
            return entry
        copies = 0 if faults.drop_notification else 2 if faults.duplicate_notification else 1
        kept = faults.return_after_ms if entry.instruction.kind == "refund" else None  # a void moves nothing that could come back
        self._sql.execute("update operations set copies = ?, return_after_ms = ? where rail_key = ?", (copies, kept, rail_key))
        status, code = _verdict(entry.instruction.kind, faults)
        if faults.pending_ms is None or status is Status.settled:
            return self._set_status(rail_key, status, code, now_ms)
        self._sql.execute(
            "update operations set status = 'pending', at_ms = ?, next_status = ?, next_code = ?, due_ms = ? where rail_key = ?",
            (now_ms, status, code, now_ms + faults.pending_ms, rail_key),
        )
        return self._entry(rail_key)

    def find(self, rail_key: str) -> LedgerEntry | None:
        row = self._sql.execute("select * from operations where rail_key = ?", (rail_key,)).fetchone()
        return None if row is None else LedgerEntry.read(row)

    def look_up(self, rail_key: str) -> tuple[Faults, LedgerEntry | None]:
        """What became of a key, with the random faults that befall the question; those that a reference asks for do not."""
        faults = NONE
        if self.random_faults.rate > 0:
            statement = "insert into questions values (?, 1) on conflict (rail_key) do update set asked = asked + 1 returning asked"
            faults = self.random_faults.draw("find", rail_key, self._sql.execute(statement, (rail_key,)).fetchone()["asked"])
        return faults, self._heard(rail_key)

    def ask_to_cancel(self, rail_key: str) -> tuple[Faults, LedgerEntry | None]:
        """Count the attempt to cancel; the faults that befall it, with the entry as it is. Those of the reference befall it too."""
        entry = self._heard(rail_key)
        statement = "insert into cancels values (?, 1) on conflict (rail_key) do update set asked = asked + 1 returning asked"
        attempt = self._sql.execute(statement, (rail_key,)).fetchone()["asked"]
        requested = NONE if entry is None else parse_faults(entry.instruction.provider_reference)
        return for_attempt(requested, self.random_faults.draw("cancel", rail_key, attempt), attempt), entry

    def cancel(self, rail_key: str, now_ms: int) -> LedgerEntry:
        """Decline what waits for somebody; everything else stays as it is."""
        entry = self._entry(rail_key)
        return self._set_status(rail_key, Status.declined, CANCEL_CODE, now_ms) if entry.status is Status.requires_action else entry

    def _heard(self, rail_key: str) -> LedgerEntry | None:
        """None where every attempt was turned away."""
        entry = self.find(rail_key)
        return entry if entry is not None and (entry.working or entry.status is not None) else None

    def movements(self, payment_reference: str | None, after: int, limit: int) -> list[Movement]:
        only, values = ("payment_reference = ? and", [payment_reference]) if payment_reference is not None else ("", [])
        statement = f"select * from movements where {only} seq > ? order by seq limit ?"  # noqa: S608 -- both forms stand one line above
        return [Movement(**row) for row in self._sql.execute(statement, (*values, after, limit))]

    def set_random_faults(self, random_faults: RandomFaults) -> None:
        value = json.dumps({"rate": random_faults.rate, "kinds": random_faults.kinds, "seed": random_faults.seed})
        self._sql.execute("insert into settings values ('faults', ?) on conflict (name) do update set value = excluded.value", (value,))
        self.random_faults = random_faults

    # -- what time brings -------------------------------------------------------------------------------------------

    def apply_due(self, now_ms: int) -> int | None:
        """Confirm and return what is due; answers when the next is."""
        statement = "select rail_key, next_status, next_code from operations where due_ms <= ? order by due_ms limit ?"
        for row in self._sql.execute(statement, (now_ms, BATCH_MAX)).fetchall():
            if row["next_status"] == WORKING:
                self.decide(row["rail_key"], self._faults_now(row["rail_key"]), now_ms)
            else:
                self._set_status(row["rail_key"], Status(row["next_status"]), row["next_code"], now_ms)
        due: int | None = self._sql.execute("select min(due_ms) from operations where due_ms is not null").fetchone()[0]
        return due

    def _faults_now(self, rail_key: str) -> Faults:
        """Those of the last attempt that was heard."""
        entry = self._entry(rail_key)
        random_faults = self.random_faults.draw("send", rail_key, entry.attempts)
        return for_attempt(parse_faults(entry.instruction.provider_reference), random_faults, entry.attempts)

    def owed(self, now_ms: int, held: Iterable[str]) -> list[OwedNotification]:
        """Deliveries that are due, oldest first; none for the keys that are held."""
        statement = "select seq, rail_key, body, attempts from outbox where due_ms <= ? order by due_ms, seq limit ?"
        wait = frozenset(held)
        return [OwedNotification(*row) for row in self._sql.execute(statement, (now_ms, BATCH_MAX)) if row["rail_key"] not in wait]

    def owed_for(self, rail_key: str) -> list[OwedNotification]:
        rows = self._sql.execute(
            "select seq, rail_key, body, attempts from outbox where rail_key = ? order by seq limit ?", (rail_key, BATCH_MAX)
        )
        return [OwedNotification(*row) for row in rows]

    def record_deliveries(self, delivered: Iterable[OwedNotification], failed: Iterable[OwedNotification], now_ms: int) -> None:
        self._sql.executemany("delete from outbox where seq = ?", [(notification.seq,) for notification in delivered])
        waits = [
            (now_ms + min(RETRY_MS_MAX, RETRY_MS_FIRST << min(notification.attempts, 10)), notification.seq) for notification in failed
        ]
        self._sql.executemany("update outbox set attempts = attempts + 1, due_ms = ? where seq = ?", waits)

    def next_delivery_ms(self, now_ms: int) -> int | None:
        due: int | None = self._sql.execute("select min(due_ms) from outbox where due_ms > ?", (now_ms,)).fetchone()[0]
        return due

    # -- the one place where money moves ----------------------------------------------------------------------------

    def _set_status(self, rail_key: str, status: Status, code: str | None, now_ms: int) -> LedgerEntry:
        """Write a status with all that follows from it: the movement, its return, the notification."""
        self._sql.execute(
            "update operations set status = ?, failure_code = ?, at_ms = ?, due_ms = null, next_status = null, next_code = null"
            " where rail_key = ?",
            (status, code, now_ms, rail_key),
        )
        entry = self._entry(rail_key)
        instruction = entry.instruction
        if status is Status.succeeded:
            self._sql.execute(
                "insert into movements (rail_key, kind, payment_reference, amount, currency, at_ms) values (?,?,?,?,?,?)",
                (rail_key, instruction.kind, instruction.payment_reference, instruction.amount, instruction.currency, now_ms),
            )
            if entry.return_after_ms is not None:
                self._sql.execute(
                    "update operations set next_status = 'returned', next_code = ?, due_ms = ? where rail_key = ?",
                    (RETURN_CODE, now_ms + entry.return_after_ms, rail_key),
                )
        elif status is Status.returned:
            self._sql.execute("update movements set returned_ms = ? where rail_key = ?", (now_ms, rail_key))
        if self._notifies and status is not Status.settled:
            body = notification_body(entry)
            self._sql.executemany(
                "insert into outbox (rail_key, body, due_ms) values (?,?,?)", [(rail_key, body, now_ms) for _ in range(entry.copies)]
            )
        return entry

    def _entry(self, rail_key: str) -> LedgerEntry:
        return LedgerEntry.read(self._sql.execute("select * from operations where rail_key = ?", (rail_key,)).fetchone())


def _verdict(kind: Kind, faults: Faults) -> tuple[Status, str | None]:
    if kind == "void" and faults.captured_meanwhile:
        return Status.settled, None
    if faults.decline is not None:
        return Status.declined, faults.decline
    if faults.requires_action:
        return Status.requires_action, None
    return Status.succeeded, None


def notification_body(entry: LedgerEntry) -> str:
    """The same bytes at every delivery; its id names the key and the word, so that a receiver may tell a repetition by it."""
    described = describe(entry)
    status = "failed" if entry.status is Status.declined else described["status"]
    digest = hashlib.sha256(f"{entry.instruction.rail_key}\0{status}".encode()).hexdigest()
    return json.dumps({"id": f"ntf_{digest[:32]}", **described, "status": status}, separators=(",", ":"))


def describe(entry: LedgerEntry) -> dict[str, str | int]:
    """An entry as the rail speaks of it, in replies and in notifications."""
    instruction = entry.instruction
    digest = hashlib.sha256(instruction.rail_key.encode()).hexdigest()
    content: dict[str, str | int] = {
        "rail_key": instruction.rail_key,
        "kind": instruction.kind,
        "status": str(entry.status or Status.pending),
        "amount": instruction.amount,
        "currency": instruction.currency,
        "at": timestamp(entry.at_ms),
        "provider_refund_id": f"sbx_{digest[:24]}",
        "rail_reference": f"7{int(digest, 16) % 10**22:022d}",  # 23 digits, as an acquirer reference number has
    }
    if entry.failure_code is not None:
        content["failure_code"] = entry.failure_code
    return content


def timestamp(milliseconds: int) -> str:
    """RFC 3339 in UTC, from milliseconds since 1970."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
