"""The sums of a payment, through any sequence of wishes and of rails' words, against a model that only knows legs."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests import factories as make
from tests.factories import DAY, HOUR, NOW
from tests.unit.workflows.domain.decisions.test_outcomes import WORDS, expected
from workflows.domain.changes import Change
from workflows.domain.decisions import outcomes, payments, requests
from workflows.domain.enums import JobKind, LegState, PaymentFailure, Source
from workflows.domain.errors import AmountExceedsRefundable, CancellationOpen, Invalid, InvalidState, PartialNotSupported
from workflows.domain.legs import Leg
from workflows.domain.model import Funding, Item, ItemQuantity, Snapshot
from workflows.domain.records import hash_of

SOURCES = [Source.card, Source.coupon, Source.balance]
COMING = {"scheduled", "held", "submitted", "processing", "unknown"}
CLOCK_FIRST = 24 * HOUR  # of a hand-off: half of its 48 hours, the first reminder
STUCK_DAYS = 5 * DAY  # of money that is stuck: five business days, from a Sunday
LIVES, STEPS = 150, 40  # drawn evenly: Hypothesis prefers short lives, and the sums go wrong late in long ones


class Life:
    """`legs` is the model: each leg's state by the table of words, all else is counted from it."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.legs: dict[Any, str] = {}
        self.ended: dict[Any, str] = {}  # cancellations that hold nothing any more
        self.noted: set[Any] = set()  # leg and word of every anomaly
        self.gone = False
        self.settled = chance.random() < 0.5
        self.jobs: list[Any] = []
        self.clocks: set[Any] = set()
        parts = [chance.choice([1, 2, 7, 100, 333]) for _ in range(chance.randint(1, 3))]
        funding = tuple(
            Funding(source=source, amount=part, provider="sandbox", provider_reference="")
            for source, part in zip(SOURCES, parts, strict=False)
        )
        items: tuple[Item, ...] = ()
        if sum(parts) > 1 and chance.random() < 0.5:
            first = chance.randint(1, sum(parts) - 1)
            items = (Item(reference="a", quantity=3, amount=first), Item(reference="b", quantity=7, amount=sum(parts) - first))
        registered = make.completed if self.settled else make.pending
        self.snapshot: Snapshot = registered(amount=sum(parts), funding=funding, items=items)

    def go_on(self) -> None:
        states = set(self.legs.values())
        steps: list[Callable[[], None]] = [self.request] * 6 + [self.complete]
        if self.chance.random() < 0.1:
            steps.append(self.fail)
        if self.snapshot.cancellations:
            steps += [self.withdraw] * 2
        if states:
            steps += [self.hear] * 6
        if "scheduled" in states:
            steps += [self.send] * 8
        if states & set(make.ALL_SENT):
            steps += [self.hear_the_end] * 8
        self.chance.choice(steps)()
        self.sums_agree()
        self.states_agree()
        self.refunds_are_their_legs()

    def request(self) -> None:
        merchant = self.chance.choice(["automatic", "automatic", "automatic", "cash-first", "merchant", "brief"])
        self.snapshot = make.with_payment(self.snapshot, merchant_id=merchant)
        payment = self.snapshot.payment
        wish = make.requested(
            amount=self.chance.choice([None, self.chance.randint(1, payment.amount), self.chance.randint(1, max(1, payment.amount // 4))])
        )
        if payment.items and self.chance.random() < 0.5:
            wish = make.requested(items=(ItemQuantity(reference=self.chance.choice("ab"), quantity=self.chance.randint(1, 3)),))
        left = payment.amount - self.refunded() - self.reserved()
        try:
            change = make.request(self.snapshot, wish)
        except InvalidState:
            assert self.state() not in {"pending", "completed", "cancel_requested"}
            assert not self.has_only_returned()
        except CancellationOpen:
            assert {c.id for c in self.snapshot.cancellations} - self.ended.keys()
        except (AmountExceedsRefundable, PartialNotSupported, Invalid):
            assert wish.items is not None or wish.amount is not None
            assert wish.items is not None or not self.settled or (wish.amount or 0) > left
        else:
            assert self.state() in {"pending", "completed"} or self.has_only_returned()
            least = 0 if wish.items is not None else 1  # pieces of a line that is worth less than it has pieces
            assert least <= change.cancellations[0].amount <= left
            self.take(change)
            if change.refusal is not None:
                self.ended[change.cancellations[0].id] = "refused"

    def has_only_returned(self) -> bool:
        """Whether money that came back is all that is unfinished, and something else is left to ask for."""
        left = self.snapshot.payment.amount - self.refunded() - self.reserved()
        unfinished = [c for c in self.snapshot.cancellations if c.id not in self.ended and self.arrived(c.id) < c.amount]
        return self.state() == "refunding" and left > 0 and all(c.reopened for c in unfinished)

    def withdraw(self) -> None:
        cancellation = self.chance.choice(self.snapshot.cancellations)
        try:
            change = requests.withdraw(self.snapshot, cancellation, make.context())
        except InvalidState:
            assert cancellation.id in self.ended or self.legs_of(cancellation.id) or not cancellation.amount
        else:
            assert cancellation.id not in self.ended
            self.take(change)
            self.ended[cancellation.id] = "withdrawn"

    def complete(self) -> None:
        try:
            change = payments.complete(self.snapshot, completed_at=None, provider_reference=None, terms=make.TERMS, context=make.context())
        except InvalidState:
            assert self.settled or self.state() in {"cancelled", "failed"}  # a late capture is noted once
        else:
            over = self.state() in {"cancelled", "failed"}
            assert (change.refusal is not None) is over
            assert over or not self.settled
            if not over:
                self.settled = True
                self.drop_unsent_voids()
            self.take(change)

    def fail(self) -> None:
        try:
            change = payments.fail(self.snapshot, code=PaymentFailure.other, detail=None, context=make.context())
        except InvalidState:
            assert self.settled or self.state() in {"cancelled", "failed"}
        else:
            assert not self.settled
            self.gone = True
            self.drop_unsent_voids()
            self.ended |= {c.id: "moot" for c in change.cancellations}
            self.take(change)

    def send(self) -> None:
        leg = self.chance.choice([leg for leg in self.snapshot.legs if leg.state is LegState.scheduled])
        self.take(outcomes.submit(self.snapshot, leg, make.context()))
        self.legs[leg.id] = "submitted"

    def hear(self) -> None:
        word = self.chance.choice(sorted(WORDS))
        self.tell(self.chance.choice(self.snapshot.legs), word)

    def hear_the_end(self) -> None:
        leg = self.chance.choice([leg for leg in self.snapshot.legs if leg.state in make.ALL_SENT])
        self.tell(leg, "done")

    def sums_agree(self) -> None:
        payment = self.snapshot.payment
        assert (payment.amount_refunded, payment.amount_reserved) == (self.refunded(), self.reserved())
        assert payment.allocated == tuple(self.allocated(position) for position in range(len(payment.funding)))
        assert all(0 <= has <= source.amount for has, source in zip(payment.allocated, payment.funding, strict=True))
        assert payment.amount_refunded >= 0
        assert payment.amount_reserved >= 0
        assert payment.amount_refunded + payment.amount_reserved <= payment.amount
        for item, taken in zip(payment.items, payment.cancelled_quantities, strict=True):
            wished = [c for c in self.snapshot.cancellations if self.ended.get(c.id) not in {"refused", "withdrawn"}]
            assert taken == sum(one.quantity for c in wished for one in c.items if one.reference == item.reference) <= item.quantity

    def states_agree(self) -> None:
        payment = self.snapshot.payment
        assert payment.state == self.state()
        assert (payment.origin_state is not None) == (payment.state == "cancel_requested")
        for c in self.snapshot.cancellations:
            legs = self.legs_of(c.id)
            if c.id in self.ended:
                assert c.state == {"voided": "completed", "moot": "completed"}.get(self.ended[c.id], self.ended[c.id])
            elif not legs and c.amount:
                assert c.state == "awaiting_merchant"
            elif self.arrived(c.id) == c.amount:
                assert c.state == "completed"
            else:
                assert c.state in {"executing", "needs_attention"}
                # Nobody has to look after what goes on by itself, and somebody after what does not.
                assert c.state == "needs_attention" or any(self.legs[leg.id] in COMING for leg in legs)

    def refunds_are_their_legs(self) -> None:
        assert {leg.id: leg.state.value for leg in self.snapshot.legs} == self.legs
        for refund in self.snapshot.refunds:
            legs = [leg for leg in self.legs_of(refund.cancellation_id) if leg.refund_id == refund.id]
            assert sum(leg.amount for leg in legs) == refund.amount
            assert refund.state in {leg.state for leg in legs}
        assert sorted(self.jobs) == sorted(self.legs)  # one job a leg, from the beginning

    def tell(self, leg: Leg, word: str) -> None:
        said = {"done": make.done(leg)}.get(word, WORDS[word])
        kind = leg.kind.value
        if word.startswith("other") and (leg.amount, leg.currency) == (getattr(said, "amount", 0), getattr(said, "currency", "")):
            word = "done"  # the other amount happens to be this leg's
        after = self.expected(leg, word)
        change = make.learn(self.snapshot, leg, said)
        if change is None:
            assert after == "." or ("!" in after and (leg.id, said) in self.noted)  # said once already
            return
        assert after != "."
        if "!" in after:
            self.noted.add((leg.id, said))
        assert ("payment.anomaly" in make.types(change)) >= ("!" in after)
        self.legs[leg.id] = {"!": leg.state.value, "?!": "requires_action"}.get(after, after)
        if (kind, word, after) == ("void", "settled", "failed") and self.snapshot.payment.origin_state == "pending":
            self.settled = True
            self.drop_unsent_voids()
        self.take(change)
        voids = [one for one in self.snapshot.legs if one.cancellation_id == leg.cancellation_id and one.kind == "void"]
        all_voided = len(voids) > 0 and all(self.legs[one.id] == "succeeded" for one in voids)
        if kind == "void" and all_voided and leg.cancellation_id not in self.ended:
            self.ended[leg.cancellation_id] = "voided"

    def expected(self, leg: Leg, word: str) -> str:
        """The table's word, but for what a failed leg remembers: that its money came back, that it was paid after all, or captured."""
        after = expected(leg.kind.value, word, leg.state.value)
        if leg.state.value != "failed":
            return after
        if word == "done" and (leg.failure_code or "").startswith("returned"):
            return "."
        if (leg.kind.value, word) == ("void", "done"):  # a release counts, however late, unless the payment was captured or is over
            waits = leg.cancellation_id not in self.ended and self.snapshot.payment.origin_state == "pending"
            return "succeeded" if waits else "!"
        if word == "settled" and leg.kind.value == "void" and leg.failure_code == "payment_settled":
            return "."
        paid = any(one.leg_id == leg.id and one.kind.startswith("paid") for one in self.snapshot.anomalies)
        return "!" if paid and word in {"declined", "returned"} else after

    def take(self, change: Change) -> None:
        payment, sequence, head = self.snapshot.payment, self.snapshot.payment.sequence, self.snapshot.payment.head
        assert (change.expected_version, change.payment.version) == (payment.version, payment.version + 1)
        for record in change.records:
            assert (record.sequence, record.previous_hash, record.hash) == (sequence + 1, head, hash_of(record.body.encode()))
            sequence, head = record.sequence, record.hash
        became_refunded = change.payment.state == "refunded" != payment.state
        assert ("payment.refunded" in make.types(change)) == became_refunded
        moves = [job for job in change.jobs if job.kind is JobKind.move]
        assert all(job.run_at == NOW for job in moves)
        self.jobs += [job.subject_id for job in moves]
        clocks = {
            c.clock.id: c.clock.started_at + (STUCK_DAYS if c.state == "needs_attention" else CLOCK_FIRST)
            for c in change.cancellations
            if c.clock is not None and c.clock.id not in self.clocks
        }
        self.clocks |= clocks.keys()
        assert {job.subject_id: job.run_at for job in change.jobs if job.kind is not JobKind.move} == clocks
        self.legs |= {leg.id: "scheduled" for leg in change.legs if leg.id not in self.legs}
        self.snapshot = change.after(self.snapshot)

    def drop_unsent_voids(self) -> None:
        unsent = [leg.id for leg in self.snapshot.legs if leg.kind == "void" and self.legs[leg.id] == "scheduled"]
        self.legs |= dict.fromkeys(unsent, "failed")

    def legs_of(self, cancellation: object) -> list[Leg]:
        return [leg for leg in self.snapshot.legs if leg.cancellation_id == cancellation]

    def counted(self, cancellation: object) -> list[Leg]:
        """Voids count as money given back only where the rest of their payment had to be refunded."""
        legs = self.legs_of(cancellation)
        refunds = [leg for leg in legs if leg.kind == "refund"]
        return refunds + [leg for leg in legs if refunds and leg.kind == "void" and self.legs[leg.id] == "succeeded"]

    def arrived(self, cancellation: object) -> int:
        return sum(leg.amount for leg in self.counted(cancellation) if self.legs[leg.id] == "succeeded")

    def refunded(self) -> int:
        return sum(self.arrived(c.id) for c in self.snapshot.cancellations)

    def reserved(self) -> int:
        return sum(c.amount - self.arrived(c.id) for c in self.snapshot.cancellations if c.id not in self.ended)

    def allocated(self, position: int) -> int:
        """What failed or came back stays reserved for its refund, source by source."""
        return sum(leg.amount for c in self.snapshot.cancellations for leg in self.counted(c.id) if leg.position == position)

    def state(self) -> str:
        if self.gone:
            return "failed"
        if "voided" in self.ended.values():
            return "cancelled"
        unfinished = [c for c in self.snapshot.cancellations if c.id not in self.ended and self.arrived(c.id) < c.amount]
        if any(not self.counted(c.id) for c in unfinished):
            return "cancel_requested"
        if unfinished:
            return "refunding"
        if self.refunded() == self.snapshot.payment.amount:
            return "refunded"
        return "completed" if self.settled else "pending"


@pytest.mark.slow
def test_a_life_sums_up_at_every_step(subtests: pytest.Subtests) -> None:
    for seed in range(LIVES):
        with subtests.test(f"seed {seed}"):
            life = Life(Random(seed))
            for _ in range(STEPS):
                life.go_on()
