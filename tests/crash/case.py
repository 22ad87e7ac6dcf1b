"""What was promised about one cancellation that waits for people: who may do what, until when, and what silence leads to.

Like the auditor, it shares no code with the service. A case is a value: each step answers with what must be said, and the case after it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

MERCHANT_ANSWERS = timedelta(hours=48)
OFFER_STANDS = timedelta(hours=72)
GOODS_ARE_SENT = timedelta(days=15)
GOODS_ARE_INSPECTED = timedelta(days=7)
SECOND_PERSON = timedelta(hours=24)
AGENTS = (timedelta(days=1), timedelta(days=21))  # one business day to five: with the longest holidays less than 21 days
ESCALATION = timedelta(days=7)  # after the merchant's no
ONE_SUFFICES = 500_000  # CNY, minor units
OFFERS_MAX = 3

WAITING = frozenset({"awaiting_merchant", "offered", "awaiting_return", "awaiting_agent", "awaiting_second_approval"})
GRANTED = frozenset({"executing", "needs_attention", "completed", "failed"})  # the rail and the worker choose among them


@dataclass(frozen=True)
class Person:
    id: str
    role: str


@dataclass(frozen=True)
class Seen:
    """What the service shows of the cancellation."""

    state: str
    deadline: datetime | None
    raised: bool


@dataclass(frozen=True)
class Case:
    amount: int
    state: str = "executing"
    deadline: datetime | None = None  # None: nobody's time runs, or `near` says what is known of it
    near: tuple[datetime, datetime] | None = None  # when the deadline must be: it is read off what the service shows
    left: timedelta | None = None  # of the merchant's time, while the customer thinks about an offer
    offers: int = 0
    offered: int = 0
    sent: bool = False
    raised: bool = False
    two: bool = False
    approved_by: tuple[str, ...] = ()
    merchant_no_at: datetime | None = None  # and his no is what stands

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    def overdue(self, now: datetime) -> bool:
        return self.waits and not self.raised and self.deadline is not None and now >= self.deadline

    def struck(self, now: datetime) -> "Case":
        """As whoever acts at `now` finds it."""
        return self.timed_out(now, now) if self.overdue(now) else self

    def timed_out(self, earliest: datetime, latest: datetime) -> "Case":
        """What silence leads to; it was noticed between these moments."""
        match self.state:
            case "awaiting_agent":
                return replace(self, raised=True)
            case "awaiting_return":
                return self.granted() if self.sent else self.declined()
            case "awaiting_second_approval":
                return replace(self, approved_by=()).to_agent(earliest, latest)
        return self.to_agent(earliest, latest)

    def followed(self, seen: Seen, since: datetime, now: datetime) -> "Case":
        """The case as the service shows it: struck, if its time was over and a worker has come. Checks that it is one of the two."""
        if not self.waits:
            assert seen.state in GRANTED if self.state == "executing" else seen.state == self.state, (seen, self)
            return self
        end = self.deadline
        if (seen.state, seen.raised) != (self.state, self.raised) or (seen.deadline != end and end is not None):
            assert self.overdue(now), ("struck before its time", seen, self, now)
            assert end is not None
            return self.timed_out(max(since, end), now).followed(seen, now, now)
        assert seen.deadline is not None
        if self.near is not None:
            assert self.near[0] <= seen.deadline <= self.near[1], (seen, self)
        return replace(self, deadline=seen.deadline, near=None)

    # -- where it goes ----------------------------------------------------------------------------------------------

    def to_merchant(self, until: datetime) -> "Case":
        return replace(self, state="awaiting_merchant", deadline=until, left=None)

    def to_agent(self, earliest: datetime, latest: datetime) -> "Case":
        two = self.two or self.amount > ONE_SUFFICES
        near = (earliest + AGENTS[0], latest + AGENTS[1])
        return replace(self, state="awaiting_agent", deadline=None, near=near, two=two, raised=False, merchant_no_at=None)

    def granted(self) -> "Case":
        return replace(self, state="executing", deadline=None, raised=False)

    def declined(self, merchant_at: datetime | None = None) -> "Case":
        return replace(self, state="declined", deadline=None, raised=False, merchant_no_at=merchant_at)

    # -- what people do ---------------------------------------------------------------------------------------------

    def step(self, name: str, person: Person, now: datetime, offer: int = 0) -> "tuple[str, Case]":
        """The answer, and the case after it; `offer` in minor units. A step that the state forbids is told that state."""
        forbidden = f"409 {self.state}", self
        match self.state, name:
            case "awaiting_merchant", "accept":
                return "200 executing", self.granted()
            case "awaiting_merchant", "accept_with_return":
                return "200 awaiting_return", replace(self, state="awaiting_return", deadline=now + GOODS_ARE_SENT)
            case "awaiting_merchant", "offer":
                return self._offer(offer, now)
            case "awaiting_merchant", "decline":
                return "200 declined", self.declined(now)
            case "offered", "accept_offer":
                return "200 executing", replace(self.granted(), amount=self.offered)
            case "offered", "decline_offer":
                assert self.left is not None
                return "200 awaiting_merchant", self.to_merchant(now + self.left)
            case "awaiting_merchant", "escalate":
                return "200 awaiting_agent", self.to_agent(now, now)
            case "declined", "escalate" if self.merchant_no_at is not None and now < self.merchant_no_at + ESCALATION:
                return "200 awaiting_agent", self.to_agent(now, now)  # if the amount is still there
            case "awaiting_return", "ship":
                until = self.deadline if self.sent else now + GOODS_ARE_INSPECTED
                return "200 awaiting_return", replace(self, sent=True, deadline=until)
            case "awaiting_return", "received_intact":
                return "200 executing", self.granted()
            case "awaiting_return", "received_damaged" | "received_missing":
                return "200 awaiting_agent", self.to_agent(now, now)
            case _, "withdraw" if self.waits:
                return "200 withdrawn", replace(self, state="withdrawn", deadline=None, raised=False)
            case _, "assign" if self.waits:
                return self._assigned(person), self
            case (("awaiting_agent" | "awaiting_second_approval"), ("approve" | "deny")):
                return self._reviewed(name, person, now)
        return forbidden

    def _offer(self, offer: int, now: datetime) -> "tuple[str, Case]":
        if self.offers == OFFERS_MAX:
            return "409 awaiting_merchant", self
        if not 0 < offer < self.amount:
            return "Invalid", self
        assert self.deadline is not None
        offered = replace(self, state="offered", offers=self.offers + 1, offered=offer, left=self.deadline - now)
        return "200 offered", replace(offered, deadline=now + OFFER_STANDS)

    def _assigned(self, person: Person) -> str:
        """A decision of ours is taken only by who may make it."""
        if self.state in {"awaiting_agent", "awaiting_second_approval"}:
            if (self.raised or self.state == "awaiting_second_approval") and person.role != "supervisor":
                return "Forbidden"
            if person.id in self.approved_by:
                return "SecondApproverRequired"
        return f"200 {self.state}"

    def _reviewed(self, name: str, person: Person, now: datetime) -> "tuple[str, Case]":
        if self.raised and person.role != "supervisor":
            return "Forbidden", self
        if name == "deny":
            return "200 declined", self.declined()
        second = self.state == "awaiting_second_approval"
        if person.id in self.approved_by or (second and person.role != "supervisor"):
            return "SecondApproverRequired", self
        approved = replace(self, approved_by=(*self.approved_by, person.id))
        if self.two and not second:
            waiting = replace(approved, state="awaiting_second_approval", deadline=now + SECOND_PERSON, raised=False)
            return "200 awaiting_second_approval", waiting
        return "200 executing", approved.granted()
