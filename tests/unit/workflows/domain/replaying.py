"""The fold over a payment's records beside its values, as they are stored."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from workflows.domain.model import Payment, Snapshot
from workflows.domain.records import Record
from workflows.domain.replay.comparison import Rows, differences
from workflows.domain.replay.story import Story
from workflows.storage import mapping

_WRITE = {each.name: each.writer() for each in (mapping.PAYMENT, mapping.CANCELLATION, mapping.LEG, mapping.TEXT)}


def told(payment: Payment, records: list[Record]) -> Story:
    story = Story(payment_id=payment.id)
    for record in records:
        story.see(record.sequence, json.loads(record.body))
    return story


def found(snapshot: Snapshot, records: list[Record]) -> list[str]:
    """What the rows of this snapshot, which holds all of its payment, say otherwise than its records."""
    return [each.what for each in differences(told(snapshot.payment, records), rows_of(snapshot))]


def rows_of(snapshot: Snapshot) -> Rows:
    payment = snapshot.payment
    return Rows(
        payment=row(mapping.PAYMENT, payment, payment),
        cancellations=[row(mapping.CANCELLATION, each, payment) for each in snapshot.cancellations],
        legs=[row(mapping.LEG, each, payment) for each in snapshot.legs],
        texts=[row(mapping.TEXT, each, payment) for each in snapshot.texts],
        anomalies=[
            {
                "id": str(each.id),
                "kind": each.kind.value,
                "leg_id": None if each.leg_id is None else str(each.leg_id),
                "created_at": each.created_at.isoformat(),
                "steps": [json.loads(mapping.json_text(step)) for step in each.steps],
            }
            for each in snapshot.anomalies
        ],
    )


def row(table: mapping.TableMapping[Any], value: Any, payment: Payment) -> dict[str, Any]:
    """As PostgreSQL writes the row as JSON."""
    values = _WRITE[table.name](value, payment)
    json_columns = {column.name for column in table.table.columns if "JSON" in str(column.type)}
    return {
        name: json.loads(one) if name in json_columns and one is not None else _plain(one)
        for name, one in zip(table.columns, values, strict=True)
    }


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case bytes():
            return "\\x" + value.hex()
        case tuple():
            return list(value)
        case _:
            return value
