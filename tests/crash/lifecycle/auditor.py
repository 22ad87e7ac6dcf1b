"""What was promised about one payment, as arithmetic of its own: it shares no code with the service and never looks into it.

It hears what callers asked, sees the rail's ledger, and says which answers, states and sums are possible. Where the service may
choose its moment (a worker has not come round yet), more than one state is; the sums and the end are always exact.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

VOIDABLE = timedelta(days=7)  # since authorised
AUTOMATIC = timedelta(minutes=30)  # since completed
BY_MERCHANT = timedelta(days=15)  # since completed


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


@dataclass
class Wish:
    amount: int
    pieces: dict[str, int]
    waits: bool  # for the merchant
    to_void: bool  # asked before the payment settled


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

    # -- what callers ask, and what they must be answered -----------------------------------------------------------

    def request(self, now: datetime, amount: int | None, pieces: dict[str, int], shown: Shown) -> str:
        """The answer that a request must get: a route, or the name of the refusal."""
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
        route = self._route(now)
        if route != "PolicyRefused":
            self.wish = Wish(wanted, pieces, waits=route == "merchant", to_void=self.completed_at is None)
            self.taken += wanted
            for name, count in pieces.items():
                self.taken_pieces[name] = self.taken_pieces.get(name, 0) + count
        return route

    def _worth(self, name: str, count: int) -> int:
        before = self.taken_pieces.get(name, 0)
        return self.lines[name].worth(before + count) - self.lines[name].worth(before)

    def _route(self, now: datetime) -> str:
        if self.completed_at is None:
            return "void" if now < self.authorised_at + VOIDABLE else "PolicyRefused"
        if now < self.completed_at + AUTOMATIC:
            return "automatic"
        return "merchant" if now < self.completed_at + BY_MERCHANT else "PolicyRefused"

    def withdraw(self) -> str:
        """Possible while nobody has approved it."""
        if self.wish is None or not self.wish.waits:
            return "refused"
        self.taken -= self.wish.amount
        for name, count in self.wish.pieces.items():
            self.taken_pieces[name] -= count
        self.wish = None
        return "done"

    def complete(self, now: datetime, shown: Shown) -> str:
        if self.completed_at is not None or self.failed or self.cancelled or shown.state not in {"pending", "cancel_requested"}:
            return "refused"
        self.completed_at = now
        return "done"

    def fail(self, shown: Shown) -> str:
        if self.completed_at is not None or self.failed or self.cancelled or shown.state not in {"pending", "cancel_requested"}:
            return "refused"
        self.failed, self.wish, self.taken = True, None, 0
        return "done"

    # -- what must be seen ------------------------------------------------------------------------------------------

    def observe(self, shown: Shown, book: Book) -> None:
        """Compare, then follow the service where it was free to choose its moment."""
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

    def end(self, shown: Shown, book: Book) -> None:
        """All faults off, all time passed: every wish that nobody must decide is at its end, and every unit where it belongs."""
        self.observe(shown, book)
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
