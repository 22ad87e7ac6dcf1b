"""The audit trail as its readers get it: complete, in order, chained, exported, and free of personal data."""

import csv
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest
import structlog

from service.app import create_app
from service.auth.keys import Verifier
from tests.harness import Api, Json, assert_problem, calling
from workflows.domain.records import GENESIS, hash_of
from workflows.domain.verifying import VerificationStatus, verify_export

MARKER = "Mrs-Secret-Name"
HEAD = ["payment.registered", "cancellation.requested"]


def sources(reference: str) -> list[Json]:
    return [{"source": "card", "amount": 10_000, "provider": "sandbox", "provider_reference": reference}]


async def automatic(api: Api) -> Json:
    payment = await api.register()
    await api.requested(payment)
    return payment


async def void(api: Api) -> Json:
    payment = await api.register(completed_at=None)
    await api.requested(payment)
    return payment


async def declined_by_rail(api: Api) -> Json:
    payment = await api.register(funding=sources("decline:closed"))
    await api.requested(payment)
    return payment


async def lost_answer(api: Api) -> Json:
    payment = await api.register(funding=sources("garbage"))
    await api.requested(payment)
    return payment


async def partial(api: Api) -> Json:
    payment = await api.register()
    await api.requested(payment, amount=1)
    return payment


async def two_sources(api: Api) -> Json:
    funding = [{**sources("ok")[0], "amount": 5_000, "source": source} for source in ("card", "points")]
    payment = await api.register(funding=funding)
    await api.requested(payment)
    return payment


async def handed_off(api: Api) -> Json:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    asked = (await api.requested(payment)).json()
    await api.post(f"/v1/cancellations/{asked['id']}/withdraw")
    return payment


async def returned(api: Api) -> Json:
    payment = await api.register(fulfilment="delivered", delivered_at=api.clock.ago())
    await api.requested(payment)
    return payment


async def refused(api: Api) -> Json:
    payment = await api.register(completed_at=api.clock.ago(days=20))
    await api.requested(payment)
    return payment


async def overridden(api: Api) -> Json:
    payment = await api.register(completed_at=api.clock.ago(days=400))
    await api.requested(payment, role="supervisor", channel="hotline", override={"justification": "x", "ticket": "T"})
    return payment


async def failed(api: Api) -> Json:
    payment = await void(api)
    await api.post(f"/v1/payments/{payment['id']}/fail", {"code": "other"})
    return payment


async def told(api: Api) -> Json:
    payment = await api.register(completed_at=None)
    base = f"/v1/payments/{payment['id']}"
    await api.post(f"{base}/modifications", {"amount": 5, "reason": "x"})
    await api.post(f"{base}/complete")
    await api.post(f"{base}/fulfilment", {"status": "shipped"}, role="merchant")
    return payment


Flow = Callable[[Api], Awaitable[Json]]
FLOWS: list[tuple[Flow, list[str]]] = [
    (
        automatic,
        [
            *("payment.registered", "cancellation.requested", "refund.scheduled"),
            *("refund.submitted", "refund.succeeded", "cancellation.completed", "payment.refunded"),
        ],
    ),
    (
        void,
        [
            *("payment.registered", "cancellation.requested", "void.scheduled"),
            *("void.submitted", "void.succeeded", "cancellation.completed", "payment.voided"),
        ],
    ),
    (
        declined_by_rail,
        [
            *("payment.registered", "cancellation.requested", "refund.scheduled"),
            *("refund.submitted", "refund.failed", "cancellation.needs_attention"),
        ],
    ),
    (lost_answer, ["payment.registered", "cancellation.requested", "refund.scheduled", "refund.submitted", "refund.unknown"]),
    (
        partial,
        [
            *("payment.registered", "cancellation.requested", "refund.scheduled"),
            *("refund.submitted", "refund.succeeded", "cancellation.completed"),
        ],
    ),
    (handed_off, [*HEAD, "cancellation.handed_off", "cancellation.withdrawn"]),
    (returned, [*HEAD, "cancellation.return_awaited"]),
    (refused, ["payment.registered", "cancellation.refused"]),
    (overridden, [*HEAD, "cancellation.overridden", "cancellation.second_approval_awaited"]),
    (failed, ["payment.registered", "cancellation.requested", "void.scheduled", "payment.failed", "void.failed", "cancellation.completed"]),
    (told, ["payment.registered", "payment.modified", "payment.completed", "payment.fulfilment_changed"]),
]


@pytest.mark.parametrize(("flow", "types"), FLOWS, ids=[flow.__name__ for flow, _ in FLOWS])
async def test_a_flow_leaves_its_records_in_their_order(api: Api, flow: Flow, types: list[str]) -> None:
    payment = await flow(api)
    await api.worker.drain()

    records = await api.records(payment)

    assert [record["type"] for record in records] == types
    assert_chain(records, payment)


async def test_two_legs_leave_two_records_of_each_step(api: Api) -> None:
    payment = await two_sources(api)
    await api.worker.drain()

    records = await api.records(payment)

    types = [record["type"] for record in records]
    assert types[:4] == ["payment.registered", "cancellation.requested", "refund.scheduled", "refund.scheduled"]
    assert types[-2:] == ["cancellation.completed", "payment.refunded"]
    assert (types.count("refund.submitted"), types.count("refund.succeeded"), types.count("payment.refunded")) == (2, 2, 1)
    assert_chain(records, payment)


def assert_chain(records: list[Json], payment: Json) -> None:
    """No gap, no break, and every hash is that of the record as it was given out."""
    before = GENESIS
    state = None
    for position, record in enumerate(records, 1):
        assert set(record) - {"log_index"} == {
            *("id", "chain", "payment_id", "sequence", "type", "occurred_at", "actor", "from_state", "to_state"),
            *("amount", "currency", "data", "request_id", "previous_hash", "hash"),
        }
        assert (record["chain"], record["payment_id"]) == (payment["id"], payment["id"])
        assert (record["sequence"], record["previous_hash"]) == (position, before)
        assert set(record["actor"]) == {"role", "id", "channel"}
        content = {name: value for name, value in record.items() if name not in ("hash", "log_index")}
        assert record["hash"] == hash_of(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        assert record["from_state"] in {state, records[position - 2]["from_state"] if position > 1 else None}
        assert ("cancellation_id" in record["data"]) or record["type"].startswith("payment.")
        if record["type"].startswith("refund."):
            assert {"refund_id", "leg_id", "rail_key"} <= set(record["data"])
        if record["type"] in {"cancellation.requested", "cancellation.refused"}:
            assert {"reason", "rule", "policy_version"} <= set(record["data"])
        state, before = record["to_state"], record["hash"]


async def test_records_name_who_did_it_and_in_which_request(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(hours=1))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await api.requested(payment, role="agent", channel="hotline", sub="agent-7", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})

    record = (await api.records(payment))[1]

    assert (record["actor"], record["request_id"]) == ({"role": "agent", "id": "agent-7", "channel": "hotline"}, trace)
    found = (await api.get("/v1/records", "auditor", params={"actor": "agent-7", "payment_id": payment["id"]})).json()["data"]
    assert {one["sequence"] for one in found} == {2, 3}


async def test_records_are_searched_by_what_they_are(api: Api) -> None:
    payment = await api.register(merchant_id="searched")
    await api.requested(payment)
    queries: list[tuple[dict[str, str], int]] = [
        ({"merchant_id": "searched"}, 3),
        ({"merchant_id": "searched", "type": "payment.registered"}, 1),
        ({"payment_id": payment["id"], "from": api.clock.ago()}, 3),
        ({"payment_id": payment["id"], "to": api.clock.ago()}, 0),
        ({"merchant_id": "nobody"}, 0),
    ]

    for query, count in queries:
        data = (await api.get("/v1/records", "auditor", params=query)).json()["data"]
        assert len(data) == count, query


async def export(api: Api, **query: str) -> bytes:
    response = await api.get("/v1/records/export", "auditor", params=query)
    assert response.status_code == 200
    return response.content


async def test_an_export_verifies_and_a_changed_one_does_not(api: Api) -> None:
    payment = await api.register(merchant_id="exported")
    await api.requested(payment)
    await api.worker.drain()
    key = (await api.http.get("/v1/log/key")).text.strip()

    def verdict(content: bytes) -> VerificationStatus:
        return verify_export(
            content.splitlines(keepends=True),
            check_signature=lambda text, signature, data: Verifier.parse(text).verify(signature, data),
            trusted_key=key,
        ).status

    exported = await export(api, merchant_id="exported")
    lines = exported.splitlines(keepends=True)

    assert len(lines) == 7 + 1
    assert [json.loads(line) for line in lines[:-1]] == [
        {k: v for k, v in r.items() if k != "log_index"} for r in await api.records(payment)
    ]
    assert verdict(exported) is VerificationStatus.verified
    for tampered in (b"".join(lines[:-1]), b"".join(lines[:3] + lines[4:]), exported.replace(b"10000", b"10001", 1)):
        assert verdict(tampered) is VerificationStatus.tampered


async def test_an_export_as_csv_has_the_same_records(api: Api) -> None:
    payment = await api.register(merchant_id="exported-csv")
    await api.requested(payment)

    response = await api.get("/v1/records/export", "auditor", params={"format": "csv", "merchant_id": "exported-csv"})

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["id"], row["type"], row["hash"]) for row in rows] == [(r["id"], r["type"], r["hash"]) for r in await api.records(payment)]


async def test_an_empty_export_is_signed_too(api: Api) -> None:
    lines = (await export(api, merchant_id="nobody-at-all")).splitlines()

    assert len(lines) == 1
    assert b'"signature"' in lines[0]


@pytest.mark.parametrize("format_", ["ndjson", "csv"])
async def test_an_export_without_a_database_is_a_problem_and_no_stream(api: Api, format_: str) -> None:
    app = create_app(api.settings, clock=api.clock)
    headers = {"authorization": f"Bearer {api.token('auditor')}"}
    async with calling(app) as http, asyncpg.create_pool("postgresql://nobody@127.0.0.1:1/nothing", min_size=0) as away:
        app.state.services = replace(app.state.services, reads=away, streams=away)

        response = await http.get("/v1/records/export", params={"format": format_}, headers=headers)

    assert_problem(response, 503, "unavailable")
    assert response.headers["retry-after"]


async def test_what_is_personal_is_in_no_record_and_in_no_log(
    api: Api, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    planted = f"{MARKER} \u5f20\u4e09"
    with structlog.testing.capture_logs() as logs:
        payment = await api.register(
            completed_at=None,
            metadata={"who": planted},
            items=[{"reference": "a", "name": planted, "quantity": 2, "amount": 10_000}],
        )
        base = f"/v1/payments/{payment['id']}"
        less = {"amount": 8_000, "reason": planted, "items": [{"reference": "a", "name": planted, "quantity": 2, "amount": 8_000}]}
        assert (await api.post(f"{base}/modifications", less)).status_code == 200
        assert (await api.post(f"{base}/complete")).status_code == 200
        shipped = {"status": "shipped", "carrier": "sf", "tracking_number": planted}
        asked = await api.requested(payment, "other", note=planted, verification={"method": "otp", "reference": MARKER}, amount=1)
        assert asked.status_code == 201
        assert (await api.post(f"{base}/fulfilment", shipped)).status_code == 200
        await api.worker.drain()
        override = {"justification": planted, "ticket": "T-1"}
        old = await api.register(completed_at=api.clock.ago(days=400))
        assert (await api.requested(old, role="supervisor", channel="hotline", note=planted, override=override)).status_code == 201
        gone = await api.register(completed_at=None)
        assert (await api.post(f"/v1/payments/{gone['id']}/fail", {"code": "other", "detail": planted})).status_code == 200
        assert (await api.requested(payment, planted)).status_code == 422

    kept = await api.owner.fetchval("select count(*) from personal_text where value::text like $1", f"%{MARKER}%")
    recorded = await api.owner.fetchval("select count(*) from record where body like $1", f"%{MARKER}%")
    jobs = await api.owner.fetchval("select count(*) from job j where to_jsonb(j)::text like $1", f"%{MARKER}%")
    out, err = capfd.readouterr()

    assert kept >= 8
    assert (recorded, jobs) == (0, 0)
    assert MARKER not in out + err + caplog.text + repr(logs)
    assert MARKER.encode() not in await export(api)


async def test_nobody_changes_or_removes_a_record(api: Api) -> None:
    await api.register()
    for statement in ("update record set type = 'payment.failed'", "delete from record", "truncate record"):
        with pytest.raises(Exception, match=r"(?i)record|append|permission|denied"):
            await api.owner.execute(statement)
