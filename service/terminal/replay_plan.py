"""What a replay is to do, computed from a folder's two files before anything is sent.

Time is shifted, payment by payment: each payment's clock is set so that its first cancellation falls at its real distance from the
payment. A payment that nobody cancelled keeps its distance to the last payment of all, which falls at the start of the run.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from service.terminal.failure import UserError
from workflows.domain import ids
from workflows.domain.money import line_amount
from workflows.domain.times import parse_rfc3339, rfc3339

PAYMENTS, CANCELLATIONS = "payments.ndjson.gz", "cancellations.ndjson.gz"
REFERENCE_LENGTH_MAX = 64
_MOMENTS = ("authorised_at", "completed_at", "shipped_at", "delivered_at")
_RUN_FORM, _RUN = "%y%m%d%H%M%S", re.compile(r"[0-9]{12}")

Json = dict[str, Any]  # a line of the files


@dataclass(frozen=True, slots=True)
class Run:
    """One replay. Its name is the second at which it started, so that a run repeated by name sends the very same again."""

    name: str
    started: datetime

    @classmethod
    def starting(cls, now: datetime) -> "Run":
        return cls(now.astimezone(UTC).strftime(_RUN_FORM), now.astimezone(UTC).replace(microsecond=0))

    @classmethod
    def named(cls, name: str) -> "Run":
        """Raises UserError where it is no run's name."""
        try:
            if _RUN.fullmatch(name):
                return cls(name, datetime.strptime(name, _RUN_FORM).replace(tzinfo=UTC))
        except ValueError:
            pass
        raise UserError(f"{name} is not the name of a run: twelve digits, yymmddHHMMSS, as an earlier replay printed them.")

    def reference(self, reference: str) -> str:
        """The payment's reference in this run. Raises UserError where it becomes too long."""
        made = f"replay-{self.name}-{reference}"
        if len(made) > REFERENCE_LENGTH_MAX:
            raise UserError(
                f"The reference {reference} is too long to be replayed: {made} has more than {REFERENCE_LENGTH_MAX} characters."
            )
        return made


@dataclass(frozen=True, slots=True)
class Wish:
    """One real cancellation."""

    invoice: str
    requested_at: datetime
    lag_seconds: int
    items: tuple[tuple[str, int], ...]  # line, pieces
    whole: bool


class Line(NamedTuple):
    quantity: int
    amount: int


@dataclass(slots=True)
class ReplayLedger:
    """What a payment's granted cancellations come to, from the data alone."""

    amount: int
    lines: dict[str, Line]
    taken: Counter[str] = field(default_factory=Counter)
    refunded: int = 0

    def wants_all(self, wish: Wish) -> bool:
        """Whether it is asked for without naming lines."""
        return wish.whole and not self.refunded

    def worth(self, wish: Wish) -> int:
        """What the wish comes to now, in minor units; each line by cumulative quantity, so that any order sums to the line."""
        if self.wants_all(wish):
            return self.amount
        return sum(self._pieces(reference, quantity) for reference, quantity in wish.items)

    def grant(self, wish: Wish) -> None:
        self.refunded += self.worth(wish)
        if wish.whole:
            self.taken.update({reference: line.quantity - self.taken[reference] for reference, line in self.lines.items()})
        else:
            self.taken.update(dict(wish.items))

    @property
    def all_pieces_taken(self) -> bool:
        return bool(self.lines) and all(self.taken[reference] == line.quantity for reference, line in self.lines.items())

    def _pieces(self, reference: str, quantity: int) -> int:
        line = self.lines.get(reference)
        if line is None:
            return 0  # the service will say so
        before = self.taken[reference]
        after = min(before + quantity, line.quantity)
        return line_amount(line.amount, line.quantity, after) - line_amount(line.amount, line.quantity, before)


@dataclass(frozen=True, slots=True)
class Case:
    """A payment that somebody wanted undone, and their wishes in order."""

    reference: str  # in this run
    payment_id: str
    currency: str
    ledger: ReplayLedger
    wishes: tuple[Wish, ...]


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """All that is to be sent. The payments are read again when they are sent: there may be more than memory holds."""

    folder: Path
    run: Run
    limit: int | None
    payments: int
    amounts: Counter[str]  # registered, by currency
    cases: tuple[Case, ...]
    _lags: dict[str, int]
    _last: datetime

    @property
    def requests(self) -> int:
        return sum(len(case.wishes) for case in self.cases)

    def lines(self) -> Iterator[bytes]:
        """The payments as the import takes them."""
        for body in islice(_read(self.folder / PAYMENTS), self.limit):
            yield json.dumps(self._shifted(body), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _shifted(self, body: Json) -> Json:
        lag = self._lags.get(body["reference"])
        happened = _happened(body)
        at = self.run.started - (self._last - happened if lag is None else timedelta(seconds=lag))
        moments = {name: rfc3339(parse_rfc3339(body[name]) + (at - happened)) for name in _MOMENTS if body.get(name)}
        return {**body, **moments, "reference": self.run.reference(body["reference"])}


def read_plan(folder: Path, run: Run, limit: int | None = None) -> ReplayPlan:
    """The first `limit` payments of the folder with their cancellations. Raises UserError where the files cannot be read so."""
    amounts: Counter[str] = Counter()
    cases: list[Case] = []
    lags: dict[str, int] = {}
    count, last = 0, datetime.min.replace(tzinfo=UTC)
    with _telling(folder):
        for body, wishes in read_history(folder):
            last = max(last, _happened(body))  # of all, so that a run repeated with another limit sends the very same bodies
            if count == limit:
                continue
            count += 1
            amounts[body["currency"]] += body["amount"]
            if wishes:
                lags[body["reference"]] = wishes[0].lag_seconds
                cases.append(_case(body, run, wishes))
    return ReplayPlan(folder, run, limit, count, amounts, tuple(cases), lags, last)


def read_history(folder: Path) -> Iterator[tuple[Json, tuple[Wish, ...]]]:
    """Each payment as it stands in the file, with its cancellations in order. Raises UserError where the files cannot be read so."""
    with _telling(folder):
        wishes = _wishes(folder)
    for body in _read(folder / PAYMENTS):
        with _telling(folder):
            found = wishes.get(body["reference"], ())
        yield body, found


def count_wishes(folder: Path) -> int:
    """All cancellations of the folder, those of payments that it does not have too. Raises UserError."""
    return sum(1 for _ in _read(folder / CANCELLATIONS))


def _wishes(folder: Path) -> dict[str, tuple[Wish, ...]]:
    """By the payment's reference, each payment's in order of time."""
    found: dict[str, list[Wish]] = {}
    for line in _read(folder / CANCELLATIONS):
        wish = Wish(
            invoice=line["invoice"],
            requested_at=parse_rfc3339(line["requested_at"]),
            lag_seconds=int(line["lag_seconds"]),
            items=tuple((item["reference"], item["quantity"]) for item in line["items"]),
            whole=bool(line["whole"]),
        )
        found.setdefault(line["payment_reference"], []).append(wish)
    return {reference: tuple(sorted(some, key=lambda w: (w.requested_at, w.invoice))) for reference, some in found.items()}


def _case(body: Json, run: Run, wishes: tuple[Wish, ...]) -> Case:
    reference = run.reference(body["reference"])
    lines = {item["reference"]: Line(item["quantity"], item["amount"]) for item in body.get("items") or ()}
    return Case(reference, ids.public("pay", ids.payment_id(reference)), body["currency"], ReplayLedger(body["amount"], lines), wishes)


def _happened(body: Json) -> datetime:
    return parse_rfc3339(body.get("completed_at") or body["authorised_at"])


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """What a line of another form than expected raises, told as a sentence."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder} cannot be replayed: a line has another form than expected ({type(error).__name__}: {error}).") from error


def _read(path: Path) -> Iterator[Json]:
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)
    except FileNotFoundError as error:
        raise UserError(f"There is no {path.name} in {path.parent}.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}") from error
