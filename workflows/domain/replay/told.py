"""The facts that records have told, and how their parts are read."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct, field

from workflows.domain import ids

Body: TypeAlias = Mapping[str, Any]  # a record's members
Facts: TypeAlias = dict[str, Any]  # by column

# A cancellation in one of these still has its amount reserved.
OPEN = frozenset(
    {"awaiting_merchant", "offered", "awaiting_return", "awaiting_agent", "awaiting_second_approval", "executing", "needs_attention"}
)


class Told(Struct, kw_only=True):
    """All facts by the id of what they are about. `forfeited` of a cancellation is a sum here."""

    payment: Facts = field(default_factory=dict)
    cancellations: dict[str, Facts] = field(default_factory=dict)
    legs: dict[str, Facts] = field(default_factory=dict)
    anomalies: dict[str, Facts] = field(default_factory=dict)
    digests: set[tuple[str, str, str]] = field(default_factory=set)  # of what, the text's name, the digest
    contradictions: list[str] = field(default_factory=list)  # what one record says otherwise than another
    started: set[str] = field(default_factory=set)  # cancellations whose refund was started
    sequence: int = 0
    updated_at: str | None = None

    def start_refund(self, cancellation_id: str, at: str, *, refund_id: str | None = None) -> None:
        """A refund begins with its first leg, or with what it forfeits. One of less than the payment counts as a part."""
        row = self.cancellations[cancellation_id]
        if refund_id is not None and row.get("refund_id") is None:
            row |= {"refund_id": refund_id, "refund_created_at": at}
        if cancellation_id in self.started:
            return
        self.started.add(cancellation_id)
        if row.get("state") == "needs_attention":
            row["state"] = "executing"  # a void that was stuck, and that a capture has overtaken
        payment = self.payment
        if row["amount"] < payment["amount"]:
            payment |= {"partial_refunds": payment["partial_refunds"] + 1, "last_partial_at": at}

    def sums(self) -> Facts:
        """What the payment's sums then are; {} where a cancellation's state was never told."""
        refunded = reserved = forfeited = 0
        for cancellation_id, row in self.cancellations.items():
            if "state" not in row:
                return {}
            counts_voids = row.get("refund_id") is not None or row["state"] == "failed"
            back = sum(
                leg["amount"]
                for leg in self.legs.values()
                if leg["cancellation_id"] == cancellation_id and leg["state"] == "succeeded" and (leg["kind"] == "refund" or counts_voids)
            )
            lost = row.get("forfeited", 0)
            refunded, forfeited = refunded + back, forfeited + lost
            if row["state"] in OPEN:
                reserved += row["amount"] - back - lost
        return {"amount_refunded": refunded, "amount_reserved": reserved, "amount_forfeited": forfeited}


def uuid_of(prefix: ids.Prefix, public: str) -> str:
    """The id in a public one, as rows write it. Raises ValueError where it is none."""
    found = ids.parse(prefix, public)
    if found is None:
        raise ValueError("not an id")
    return str(found)
