"""Load: one statement, one snapshot.

Every table is filtered by the payment's id itself, so that a sharded database asks one shard. Rows come as JSON, which is read into
values in one step.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.json import Decoder

from workflows.domain.enums import CANCELLATION_OPEN
from workflows.domain.legs import Leg
from workflows.domain.model import (
    CANCELLATIONS_SHOWN,
    Anomaly,
    Cancellation,
    IdempotentResponse,
    MerchantEntry,
    Payment,
    PersonalText,
    Snapshot,
)
from workflows.storage.mapping import ANOMALY, CANCELLATION, LEG, PAYMENT, TEXT

_OPEN = ", ".join(f"'{state}'" for state in sorted(CANCELLATION_OPEN))
_NO_ID = UUID(int=0)


def _parts(payment: str, wanted: str) -> str:
    """The unfinished cancellations and the wanted ones, and beside each its legs."""
    return f"""
    left join lateral (
        select json_agg({CANCELLATION.json("c")}) as cancellations, json_agg(l.legs) as legs
          from cancellation c
          left join lateral (
               select json_agg({LEG.json("l")}) as legs from leg l where l.payment_id = {payment} and l.cancellation_id = c.id) l on true
         where c.payment_id = {payment} and (c.state in ({_OPEN}) or {wanted})) parts on true"""


def _merchant(merchant_id: str) -> str:
    """SQL for who the merchant is, as it is known now; null where nobody has described it."""
    return f"""(
        select json_build_object('name', m.name, 'contact', m.contact) from merchant m
         where m.merchant_id = {merchant_id} order by m.version desc limit 1) as merchant"""


def _shown(payment: str, wanted: str) -> str:
    """What only showing a payment needs: its own texts and those of the cancellations that are loaded, and the ids of the newest ones.

    However often a customer was refused, what is read of it stays as much.
    """
    return f"""
        (select json_agg({TEXT.json("t")}) from personal_text t
          where t.payment_id = {payment} and (t.subject_id = {payment}
             or exists (select from anomaly a where a.scope_id = {payment} and a.id = t.subject_id)
             or exists (
                select from cancellation c
                 where c.payment_id = {payment} and c.id = t.subject_id and (c.state in ({_OPEN}) or {wanted})))) as texts,
        array(select n.id from (
                select c.id, c.created_at from cancellation c
                 where c.payment_id = {payment} order by c.id desc limit {CANCELLATIONS_SHOWN}) n
               order by n.created_at, n.id) as cancellation_ids"""


_PAYMENT = f"{PAYMENT.json('p')} as payment, parts.cancellations, parts.legs"
_ANOMALIES = f"(select json_agg({ANOMALY.json('a')}) from anomaly a where a.scope_id = $1)"
_OF_LEG = "(select l.cancellation_id from leg l where l.payment_id = $1 and l.id = $7)"
_WANTED = f"c.id = $2 or c.client_reference = $3 or c.id = {_OF_LEG}"
REPLY_COLUMNS = "k.fingerprint as reply_fingerprint, k.status as reply_status, k.body as reply_body, k.headers as reply_headers"
_REQUESTS = "r.requests_last_day, r.requests_made"


def _one(*also: str) -> str:
    """The statement over one payment, with these further columns."""
    return f"""
    select {", ".join((_PAYMENT, REPLY_COLUMNS, _REQUESTS, *also))}
      from payment p {_parts("$1", _WANTED)}
      left join kept_reply k on k.scope_id = $8 and k.caller = $4 and k.key = $5
      cross join lateral (
           select count(*) filter (where c.refusal is distinct from 'limit-reached') as requests_last_day,
                  count(*) filter (where c.requester_id = $4) as requests_made
             from cancellation c where c.payment_id = $1 and c.created_at > $6) r
     where p.id = $1"""


# The wallet's word on a payment that is over may be an anomaly too, and one word makes one. Nobody else's request asks for them.
DECIDE = _one(_merchant("p.merchant_id"), f"case when p.state in ('cancelled', 'failed') then {_ANOMALIES} end as anomalies")
LEARN = _one(f"{_ANOMALIES} as anomalies")
SHOW = _one(_merchant("p.merchant_id"), _shown("$1", _WANTED), f"{_ANOMALIES} as anomalies")
MANY = f"""
    select p.id, {_PAYMENT}, {_merchant("p.merchant_id")}, {_shown("p.id", "c.id = any($2)")}
      from payment p {_parts("p.id", "c.id = any($2)")} where p.id = any($1)"""


def policy_in_force(moment: str) -> str:
    """SQL for the version by which a payment is decided that was authorised at that moment; before any was in force, the first one."""
    return f"""coalesce(
        (select version from policy where effective_from <= {moment} order by effective_from desc, ordinal desc limit 1),
        (select version from policy order by ordinal limit 1))"""


def merchant_in_force(merchant_id: str, moment: str) -> str:
    """SQL for the version of the merchant's terms that were its own at that moment; null before the first."""
    return f"""(
        select m.merchant_id || '@' || m.version from merchant m
         where m.merchant_id = {merchant_id} and m.changed_at <= {moment} order by m.version desc limit 1)"""


REGISTER = f"""
    select {policy_in_force("$2")} as policy_in_force, {merchant_in_force("$3", "$2")} as merchant_in_force, {_merchant("$3")},
        case when p.id is not null then {PAYMENT.json("p")} end as payment, {_shown("$1", "false")}
      from (select 1) as one left join payment p on p.id = $1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotQuery:
    """What to load beside the payment and its unfinished cancellations."""

    payment_id: UUID
    cancellation_id: UUID | None = None
    leg_id: UUID | None = None  # its cancellation is loaded, and the payment's anomalies
    client_reference: str | None = None
    caller: str | None = None
    key: str | None = None
    scope_id: UUID | None = None  # what the reply to `key` is kept under; None: the payment
    requests_since: datetime | None = None
    shown: bool = False  # with texts and the ids of the newest cancellations


async def load(connection: Any, wanted: SnapshotQuery) -> Snapshot | None:
    """The snapshot, or None where there is no such payment.

    `connection`: `Connections`, or asyncpg's connection or pool. Its session's time zone must be UTC, in which the domain's times are.
    """
    row = await connection.fetchrow(
        SHOW if wanted.shown else DECIDE if wanted.leg_id is None else LEARN,
        wanted.payment_id,
        wanted.cancellation_id or _NO_ID,
        wanted.client_reference,
        wanted.caller,
        wanted.key,
        wanted.requests_since,
        wanted.leg_id or _NO_ID,
        wanted.scope_id or wanted.payment_id,
    )
    return None if row is None else _snapshot(row)


async def load_many(connection: Any, payment_ids: Sequence[UUID], cancellation_ids: Sequence[UUID] = ()) -> dict[UUID, Snapshot]:
    """The snapshots of a page, by the payment's id, with those cancellations among them."""
    rows = await connection.fetch(MANY, list(payment_ids), list(cancellation_ids))
    return {row["id"]: _snapshot(row) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a registration is decided upon. `found`: the payment, if it exists already."""

    policy_version: str | None
    merchant_rules_version: str | None
    merchant: MerchantEntry | None
    found: Snapshot | None


async def load_for_registration(connection: Any, payment_id: UUID, authorised_at: datetime, merchant_id: str) -> Registration:
    """The terms in force at that moment, and the payment if it exists already."""
    row = await connection.fetchrow(REGISTER, payment_id, authorised_at, merchant_id)
    return Registration(
        policy_version=row["policy_in_force"],
        merchant_rules_version=row["merchant_in_force"],
        merchant=_merchant_of(row),
        found=None if row["payment"] is None else _snapshot(row),
    )


def _merchant_of(row: Any) -> MerchantEntry | None:
    told = row.get("merchant")
    return None if told is None else _entry(told)


_entry = Decoder(MerchantEntry).decode
_payment = Decoder(Payment).decode
_cancellations = Decoder(tuple[Cancellation, ...]).decode
_legs = Decoder(tuple[tuple[Leg, ...] | None, ...]).decode
_texts = Decoder(tuple[PersonalText, ...]).decode
_anomalies = Decoder(tuple[Anomaly, ...]).decode


def _snapshot(row: Any) -> Snapshot:
    """From one of the rows above, which do not all have every column."""
    get = row.get
    cancellations, legs, texts, anomalies = get("cancellations"), get("legs"), get("texts"), get("anomalies")
    return Snapshot(
        payment=_payment(row["payment"]),
        cancellations=_cancellations(cancellations) if cancellations else (),
        legs=tuple([leg for of_one in _legs(legs) for leg in of_one or ()]) if legs else (),
        texts=_texts(texts) if texts else (),
        anomalies=_anomalies(anomalies) if anomalies else (),
        cancellation_ids=tuple(get("cancellation_ids") or ()),
        requests_last_day=get("requests_last_day") or 0,
        requests_made=get("requests_made") or 0,
        reply=kept_reply(row),
        merchant=_merchant_of(row),
    )


def kept_reply(row: Any) -> IdempotentResponse | None:
    """Of a row with `REPLY_COLUMNS`; None where none was kept."""
    if row.get("reply_fingerprint") is None:
        return None
    return IdempotentResponse(
        fingerprint=row["reply_fingerprint"],
        status=row["reply_status"],
        body=row["reply_body"],
        headers=json.loads(row["reply_headers"]),
    )
