"""What was promised about one payment, as arithmetic of its own: it shares no code with the service and never looks into it.

It hears what callers asked, sees the rail's ledger, and says which answers, states and sums are possible. Where the service may
choose its moment (a worker has not come round yet), more than one state is; the sums and the end are always exact.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.crash.case import MERCHANT_ANSWERS, Case, Person, Seen

VOIDABLE = timedelta(days=7)  # since authorised
AUTOMATIC = timedelta(minutes=30)  # since completed
BY_MERCHANT = timedelta(days=15)  # since completed
AGENT_MAY = timedelta(days=390)  # since completed: promised are thirteen months, and nobody asks between the two


@dataclass(frozen=True)
class Line:
    """One line of the order."""

    quantity: int
    amount: int

    def worth(self, pieces: int) -> int:
        """What so many pieces are worth together: the nearest unit, halves in the customer's favour."""
        return (2 * self.amount * pieces + self.quantity) // (2 * self.quantity)


@dataclass(frozen=True)
class Book:
    """What the rail's own ledger says of one payment."""

    voided: int = 0
    refunded: int = 0
    returned: int = 0

    @property
    def moved(self) -> int:
        return self.voided + self.refunded


@dataclass(frozen=True)
class Shown:
    """What the service says of the payment."""

    state: str
    refunded: int
    reserved: int
    case: Seen | None = None  # the newest cancellation that was not refused


@dataclass
class Wish:
    pieces: dict[str, int]
    case: Case
    to_void: bool  # asked before the payment settled

    @property
    def amount(self) -> int:
        return self.case.amount

    @property
    def waits(self) -> bool:
        """For a person."""
        return self.case.waits


@dataclass
class Account:
    amount: int
    lines: dict[str, Line]
    authorised_at: datetime
    completed_at: datetime | None
    captured: bool  # the rail settled it and has not said so
    failed: bool = False
    cancelled: bool = False
    taken: int = 0  # what was granted and stands: reserved or refunded
    taken_pieces: dict[str, int] = field(default_factory=dict)
    wish: Wish | None = None  # the open one
    last: Wish | None = None  # the newest that was not refused, open or not
    seen_at: datetime | None = None  # when it was last looked at

    # -- what callers ask, and what they must be answered -----------------------------------------------------------

    def request(self, now: datetime, amount: int | None, pieces: dict[str, int], shown: Shown, *, theft: bool = False) -> str:
        """The answer that a request must get: a route, or the name of the refusal. `theft`: somebody else paid, says the customer."""
        self.strike(now)
        if self.failed or self.cancelled or (self.completed_at and self._all_taken() and self.wish is None and shown.state == "refunded"):
            return "InvalidState"
        if self.wish is not None:
            return "CancellationOpen"
        if shown.state == "refunding":
            return "InvalidState"  # what came back waits for a person first
        left = self.amount - self.taken
        if any(self.taken_pieces.get(name, 0) + count > self.lines[name].quantity for name, count in pieces.items()):
            return "AmountExceedsRefundable"
        wanted = sum(self._worth(name, count) for name, count in pieces.items()) if pieces else left if amount is None else amount
        if wanted > left or wanted == 0:
            return "AmountExceedsRefundable"
        if self.completed_at is None and wanted < self.amount:
            return "PartialNotSupported"
        route = self._route(now, theft=theft)
        if route != "PolicyRefused":
            case = Case(wanted)
            if route == "merchant":
                case = case.to_merchant(now + MERCHANT_ANSWERS)
            elif route == "agent":
                case = case.to_agent(now, now)
            self.last = Wish(pieces, case, to_void=self.completed_at is None)
            self._take(self.last)
        return route

    def _take(self, wish: Wish) -> None:
        self.wish = wish
        self.taken += wish.amount
        for name, count in wish.pieces.items():
            self.taken_pieces[name] = self.taken_pieces.get(name, 0) + count

    def _release(self) -> None:
        if self.wish is None:
            return
        self.taken -= self.wish.amount
        for name, count in self.wish.pieces.items():
            self.taken_pieces[name] -= count
        self.wish = None

    def _worth(self, name: str, count: int) -> int:
        before = self.taken_pieces.get(name, 0)
        return self.lines[name].worth(before + count) - self.lines[name].worth(before)

    def _route(self, now: datetime, *, theft: bool) -> str:
        if self.completed_at is None:
            return "void" if now < self.authorised_at + VOIDABLE else "PolicyRefused"
        if theft and now < self.completed_at + AGENT_MAY:
            return "agent"
        if now < self.completed_at + AUTOMATIC:
            return "automatic"
        return "merchant" if now < self.completed_at + BY_MERCHANT else "PolicyRefused"

    def decide(self, name: str, person: Person, now: datetime, shown: Shown, *, offer: int = 0) -> str:
        """The answer that a step on the newest wish must get. What a person may not do leaves no trace, not even of a deadline."""
        assert self.last is not None
        assert shown.case is not None
        case = self.last.case.struck(now)
        if case.state == "executing":  # how far it is, only the rail knows
            open_still = name == "assign" and shown.case.state in {"executing", "needs_attention"}
            state = shown.case.state if not self.last.waits else "executing"
            self.strike(now)
            return f"{200 if open_still or (name == 'assign' and state == 'executing') else 409} {state}"
        said, after = case.step(name, person, now, offer)
        if said in {"Forbidden", "SecondApproverRequired", "Invalid"}:
            return said
        self.strike(now)
        if name == "escalate" and case.state == "declined" and said.startswith("200"):
            refused = self._not_there(shown)
            if refused is not None:
                return refused
            self.last.case = after
            self._take(self.last)
            return said
        self._goes_to(after)
        return said

    def _not_there(self, shown: Shown) -> str | None:
        """Why what was declined cannot be asked for again; None where it can."""
        assert self.last is not None
        if self.wish is not None:
            return "CancellationOpen"
        if shown.state in {"refunded", "refunding"}:
            return f"409 {shown.state}"
        pieces_gone = any(self.taken_pieces.get(name, 0) + count > self.lines[name].quantity for name, count in self.last.pieces.items())
        return "AmountExceedsRefundable" if self.last.amount > self.amount - self.taken or pieces_gone else None

    def strike(self, now: datetime) -> None:
        """Whoever decides anything first does what silence has led to."""
        if self.wish is not None:
            self._goes_to(self.wish.case.struck(now))

    def _goes_to(self, case: Case) -> None:
        """The open wish is at this point; what it does not ask for any more is free again."""
        if self.wish is None:
            return
        self.taken -= self.wish.amount - case.amount
        self.wish.case = case
        if case.state in {"declined", "withdrawn"}:
            self._release()

    def complete(self, now: datetime, shown: Shown) -> str:
        self.strike(now)
        if self.completed_at is not None or self.failed or self.cancelled or shown.state not in {"pending", "cancel_requested"}:
            return "refused"
        self.completed_at = now
        return "done"

    def fail(self, shown: Shown) -> str:
        if self.completed_at is not None or self.failed or self.cancelled or shown.state not in {"pending", "cancel_requested"}:
            return "refused"
        self.failed, self.wish, self.taken = True, None, 0
        self._over()
        return "done"

    def _over(self) -> None:
        """The payment is over, and the wish with it."""
        if self.last is not None and self.last.case.waits:
            self.last.case = self.last.case.granted()

    # -- what must be seen ------------------------------------------------------------------------------------------

    def observe(self, shown: Shown, book: Book, now: datetime) -> None:
        """Compare, then follow the service where it was free to choose its moment."""
        if self.last is not None:
            assert shown.case is not None
            case = self.last.case.followed(shown.case, self.seen_at or now, now)
            if self.last is self.wish:
                self._goes_to(case)
        self.seen_at = now
        assert shown.state in self.states(book), (shown, self.states(book), book, self)
        over = self.failed or shown.state == "cancelled"
        assert shown.refunded + shown.reserved == (0 if over else self.taken), (shown, self)
        assert shown.refunded <= book.moved <= self.amount, "never more is said to be back than the rail has moved, nor moved than was paid"
        if shown.state == "cancelled":
            self.cancelled, self.wish, self.taken = True, None, 0
        elif self.wish is not None and not self.wish.waits and shown.state not in {"cancel_requested", "refunding"}:
            assert shown.refunded == self.taken, (shown, self)
            self._settled_by_rail(shown)
            self.wish = None
        elif shown.state == "refunding":
            self._settled_by_rail(shown)

    def states(self, book: Book) -> set[str]:
        if self.failed:
            return {"failed"}
        if self.cancelled:
            return {"cancelled"}
        back = {"refunding"} if book.returned else set()
        if self.wish is None:
            return back | {self._at_rest()}
        if self.wish.waits:
            return {"cancel_requested"}
        possible = set(back)
        settled = self.completed_at is not None or self.captured
        if self.wish.to_void:
            possible.add("cancel_requested")
            if book.voided == self.amount:
                possible.add("cancelled")
        if settled:
            possible.add("refunding")
            if book.moved - (book.voided if not self.wish.to_void else 0) >= self.taken:
                possible.add("refunded" if self._all_taken() else "completed")
        return possible

    def end(self, shown: Shown, book: Book, now: datetime) -> None:
        """All faults off, all time passed: every wish that nobody must decide is at its end, and every unit where it belongs.

        What still waits is a supervisor's: every other silence has led to something.
        """
        self.observe(shown, book, now)
        assert self.wish is None or not self.wish.waits or self.wish.case.raised, (shown, self)
        if self.failed or self.cancelled:
            assert book.refunded == 0, "what failed or was released is not paid back as well"
            return
        assert self.wish is None or self.wish.waits or book.returned, (shown, self)
        waiting = self.wish.amount if self.wish is not None and self.wish.waits else 0
        assert shown.refunded == book.moved - book.returned, (shown, book)
        assert book.moved == self.taken - waiting, (shown, book, self)
        if book.returned and not waiting:
            assert shown.state in {"refunding", "completed"}, shown
        elif not book.returned:
            assert shown.state == ("cancel_requested" if waiting else self._at_rest()), shown

    def _at_rest(self) -> str:
        if self.completed_at is None:
            return "pending"
        return "refunded" if self._all_taken() else "completed"

    def _all_taken(self) -> bool:
        return self.taken == self.amount

    def _settled_by_rail(self, shown: Shown) -> None:
        """A refund is only made of a payment that has settled: the rail has said so, if the wallet has not."""
        if self.completed_at is None:
            assert self.captured, shown
            self.completed_at = self.authorised_at
