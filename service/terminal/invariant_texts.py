"""What each invariant says must hold, for the operator who runs `refundry check`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

INVARIANT_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "refunds_within_amount": "0 ≤ refunded + reserved + forfeited ≤ amount, and none is negative",
        "funding_makes_up_amount": "the funding sources, and the items where there are any, sum to the payment's amount",
        "refunded_is_what_arrived": "amount_refunded is the sum of the legs that succeeded (voids where the payment settled all the same)",
        "reserved_is_what_is_open": (
            "amount_reserved is what unfinished cancellations still have to move, amount_forfeited what all of them settled without a leg"
        ),
        "allocated_is_what_refunds_took": (
            "`allocated` of each source is what refunds took of it (failed legs until the refund is closed), never more than it paid"
        ),
        "no_source_gets_more_than_it_paid": "what was paid out and released to a source for one cancellation is never more than it paid",
        "quantities_are_what_was_cancelled": "`cancelled_quantities` of each item is what cancellations took, never more than was bought",
        "refund_is_its_legs": (
            "a refund's amount is its live legs' and, with what was voided or forfeited, its cancellation's; its state is their worst"
        ),
        "legs_follow_their_order": (
            "a leg has its payment's currency and belongs to its refund's cancellation; a successor repeats what it replaces, once"
        ),
        "payment_state_is_its_cancellations": "a payment's state is what its unfinished cancellations and its amounts make of it",
        "cancellation_state_is_its_legs": "a cancellation's state is what its legs make of it",
        "one_open_cancellation": "a payment has at most one open cancellation, those not counted that the rail reopened",
        "policies_exist": "the policy that was pinned to a payment, and each one that decided, is published",
        "merchants_exist": "the merchant's version that was pinned to a payment exists and is no younger; no version is missing",
        "parts_belong": "every cancellation, leg and text belongs to something that exists",
        "legs_have_a_next_step": "every leg that is on its way has exactly one job: nothing is forgotten",
        "clocks_have_a_job": "every clock that runs has exactly one job: no deadline is forgotten",
        "jobs_have_a_subject": "every job is about a leg or a notification that exists, or about a deadline of a payment that does",
        "jobs_are_due_in_time": "no job is put off further than its clock, or the schedule of its leg, says",
        "leases_end": "no job is leased for more than a day",
        "notifications_are_heard": "a rail's word was handled, with a verdict, or has a job: none is dropped",
        "replies_belong": "a kept reply belongs to a payment or to a collection",
        "payment_holds_the_head": "a payment's sequence, head and state are its last record's",
        "payment_registered_first": "every payment's first record, and no other, says that it was registered",
        "records_belong": "a payment's record lies in its payment's chain, under its merchant",
        "versions_are_on_record": "each version of the policy and of a merchant has exactly one record, and each such record its version",
        "records_tell_what_moved": "the records count exactly the legs that succeeded and were returned, with their amounts",
        "records_unbroken": "every chain counts from 1 without a gap",
        "records_sealed": "every record's body is canonical and has the hash that stands beside it",
        "records_linked": "every record names the hash of the one before it",
        "records_match_columns": "what stands beside a record's body is what the body says",
        "records_tell_one_story": "each record of a payment begins in the state in which the one before it ended, and no earlier",
        "payment_id_is_its_reference": "a payment's id is made of its reference",
        "records_tell_the_payment": "a payment is, field by field, what its records tell of it",
        "records_tell_the_cancellations": (
            "a cancellation is what the records tell of it: who asked for what, who decided, by which rule, and until when"
        ),
        "records_tell_the_legs": "a leg is what the records tell of it: how much, to where, under which key, and what became of it",
        "records_tell_the_anomalies": "an anomaly, and each step of a person about it, is what the records tell of it",
        "texts_have_their_digests": "every personal text that is still there has the salted digest that a record holds of it",
        "schema_is_as_migrated": (
            "tables, constraints, indexes, triggers, functions and rights are those of this version; `do` says what puts one right"
        ),
        "rail_moved_what_the_books_say": (
            "each movement in the rail's own book is a leg that may have moved it, and each leg that succeeded is a movement there"
        ),
    }
)

# What waits for a person, after its number.
NOTICE_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "jobs_overdue": "jobs that were due more than five minutes ago, and that nobody does: is a worker running that has their rail?",
        "outcomes_unknown": "legs of which nobody knows whether the money moved; they are asked after until the rail answers",
        "cases_need_attention": "cancellations that only a person can carry on (`GET /v1/cancellations?state=needs_attention`)",
        "cases_overdue": "cancellations whose deadline, or whose time to answer, is over (`GET /v1/cancellations?overdue=true`)",
        "anomalies_open": "words of a rail that no transition allows, and that nobody has resolved",
        "anomalies_awaiting_second_approval": "refunds of late captures that a supervisor has to confirm",
    }
)
