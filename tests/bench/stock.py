"""Registers payments by the thousand: the product's own rows and records, written by COPY."""

from collections.abc import Iterator
from uuid import UUID

import asyncpg

from workflows.clock_and_ids import new_id, new_salt, utc_now
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import payments
from workflows.domain.enums import ActorRole, Channel
from workflows.domain.model import Actor
from workflows.storage import codec, tables

_BATCH = 5000


async def fill(url: str, name: str, count: int) -> list[UUID]:
    """Register `count` payments, completed just now, from one balance source each. Returns their ids."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        policy = await connection.fetchval("select version from policy order by ordinal limit 1")
        ids: list[UUID] = []
        for start in range(0, count, _BATCH):
            changes = list(_changes(policy, name, range(start, min(start + _BATCH, count))))
            await connection.copy_records_to_table(
                "payment", records=[codec.payment_values(change.payment) for change in changes], columns=codec.columns(tables.PaymentRow)
            )
            records = [codec.record_values(record, change.payment.merchant_id) for change in changes for record in change.records]
            await connection.copy_records_to_table("record", records=records, columns=codec.columns(tables.RecordRow))
            ids += [change.payment.id for change in changes]
        return ids
    finally:
        await connection.close()


async def settle(url: str) -> None:
    """Statistics and a checkpoint, so that neither is due while somebody measures."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        await connection.execute("vacuum analyze")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


def _changes(policy: str, name: str, numbers: range) -> Iterator[Change]:
    actor = Actor(role=ActorRole.wallet, id="bench", channel=Channel.app)
    for number in numbers:
        now = utc_now()
        terms = payments.PaymentDetails(
            reference=f"{name}-{number}",
            wallet_id=f"wallet-{number % 5000}",
            merchant_id=f"merchant-{number % 200}",
            amount=4200,
            currency="CNY",
            completed_at=now,
        )
        context = Context(actor=actor, now=now, new_id=new_id, new_salt=new_salt)
        uetr = UUID(bytes=new_salt(), version=4)
        yield payments.register(terms, policy_version=policy, uetr=uetr, default_provider="sandbox", context=context)
