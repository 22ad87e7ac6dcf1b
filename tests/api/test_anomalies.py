"""Words that no transition allows: who sees them, and what two people make of them at the same moment."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.test_form import walk
from tests.api.world import Json, World, amounts, assert_problem, funding
from workflows.domain.times import rfc3339

NOTE: Json = {"action": "note", "note": "looked into"}
ADOPT: Json = {"action": "adopt", "note": "the statement shows it"}
REFUND: Json = {"action": "refund", "note": "taken after the cancellation"}


def word(world: World, key: str, status: str, **more: object) -> Json:
    usual = {"id": uuid4().hex, "rail_key": key, "status": status, "at": rfc3339(world.clock.now), "amount": 10_000, "currency": "CNY"}
    return {**usual, "provider_refund_id": "re_1", **more}


async def heard(world: World, key: str, status: str, **more: object) -> None:
    assert (await world.notify(word(world, key, status, **more))).status_code == 200
    await world.worker.drain()


async def of(world: World, payment: Json) -> Json:
    """The payment's one anomaly."""
    (found,) = (await world.get("/v1/anomalies", "agent", params={"payment_id": payment["id"]})).json()["data"]
    return dict(found)


async def paid_after_failure(world: World) -> tuple[Json, Json]:
    """A payment whose refund the rail refused and then paid, and the anomaly that this is."""
    payment = await world.register(funding=funding(("card", 10_000), reference="pending:6000s"))
    await world.requested(payment)
    await world.worker.drain()
    key = next(record["data"]["rail_key"] for record in await world.records(payment) if record["type"] == "refund.processing")
    await heard(world, key, "failed", failure_code="account_closed")
    await heard(world, key, "succeeded")
    return payment, await of(world, payment)


async def captured_late(world: World) -> tuple[Json, Json]:
    """A payment that failed, of which the wallet says later that it was taken all the same."""
    payment = await world.register(completed_at=None)
    path = f"/v1/payments/{payment['id']}"
    assert (await world.post(f"{path}/fail", {"code": "network"})).status_code == 200
    assert_problem(await world.post(f"{path}/complete"), 409, "invalid-state", state="failed")
    return payment, await of(world, payment)


async def without_payment(world: World) -> Json:
    """A word about a movement that nobody knows."""
    await heard(world, uuid4().hex, "succeeded")
    return dict((await world.get("/v1/anomalies", "agent", params={"kind": "unknown_key", "limit": 1})).json()["data"][0])


async def resolved(world: World, anomaly: Json, body: Json, role: str = "agent", **call: Any) -> httpx.Response:
    return await world.post(f"/v1/anomalies/{anomaly['id']}/resolve", body, role=role, **call)


async def read(world: World, anomaly: Json, role: str = "agent", **call: Any) -> Json:
    return dict((await world.get(f"/v1/anomalies/{anomaly['id']}", role, **call)).json())


async def test_an_anomaly_says_what_was_said_and_what_can_be_done(world: World) -> None:
    payment, anomaly = await paid_after_failure(world)

    refund = (await world.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"][0]
    assert anomaly == {
        "id": anomaly["id"],
        "version": 1,
        "kind": "paid_after_failure",
        "state": "open",
        "payment_id": payment["id"],
        "leg_id": refund["legs"][0]["id"],
        "provider": "sandbox",
        "said": "succeed",
        "data": {"position": 0},
        "message": "The provider reported a refund as paid that had failed before."
        " If the provider confirms it, adopt it, and the refund counts as paid.",
        "steps": [],
        "created_at": anomaly["created_at"],
        "updated_at": anomaly["created_at"],
        "available_actions": ["note", "adopt"],
    }
    assert await read(world, anomaly) == anomaly
    assert await read(world, anomaly, "auditor") == {**anomaly, "available_actions": []}
    chinese = await read(world, anomaly, headers={"accept-language": "zh-CN"})
    assert chinese["message"].startswith("支付渠道报告一笔此前失败的退款已到账。")


async def test_anomalies_are_found_by_what_they_are(world: World) -> None:
    payment, anomaly = await paid_after_failure(world)
    queries: list[tuple[Json, bool]] = [
        ({}, True),
        ({"kind": "paid_after_failure"}, True),
        ({"kind": "paid_twice"}, False),
        ({"provider": "sandbox"}, True),
        ({"provider": "other"}, False),
        ({"state": "open"}, True),
        ({"state": "awaiting_second_approval"}, False),
        ({"state": "resolved"}, False),
        ({"created_from": world.clock.ago()}, True),
        ({"created_to": world.clock.ago()}, False),
    ]

    for query, found in queries:
        data = (await world.get("/v1/anomalies", "agent", params={"payment_id": payment["id"], **query})).json()["data"]
        assert data == ([anomaly] if found else []), query


async def test_the_list_is_walked_whole_newest_first_with_words_of_no_payment(world: World) -> None:
    made = []
    for _ in range(3):
        world.clock.now += timedelta(seconds=1)
        made.append((await without_payment(world))["id"])
        world.clock.now += timedelta(seconds=1)
        made.append((await captured_late(world))[1]["id"])
    for query in ({}, {"state": "open"}):
        found = [one["id"] for one in await walk(world, "/v1/anomalies", "auditor", 4, **query)]

        assert len(set(found)) == len(found)
        assert [one for one in found if one in made] == made[::-1]


async def test_a_note_resolves_and_nothing_moves(world: World) -> None:
    payment, anomaly = await paid_after_failure(world)
    before = amounts(await world.payment(payment))

    response = await resolved(world, anomaly, NOTE)

    said = response.json()
    assert (response.status_code, response.headers["etag"], said["state"], said["version"]) == (200, '"2"', "resolved", 2)
    assert said["steps"] == [{"action": "note", "by": "agent-1", "role": "agent", "at": said["updated_at"], "note": "looked into"}]
    assert said["available_actions"] == []
    assert said["message"].endswith("It is resolved, and nothing is left to do.")
    assert await read(world, anomaly) == said
    assert amounts(await world.payment(payment)) == before
    record = (await world.records(payment))[-1]
    assert (record["type"], record["data"]["action"], record["data"]["anomaly_id"]) == ("anomaly.resolved", "note", anomaly["id"])
    assert_problem(await resolved(world, anomaly, NOTE), 409, "invalid-state", state="resolved", available_actions=[])


async def test_what_was_paid_after_all_is_adopted_and_told_again_to_who_asks_again(world: World) -> None:
    payment, anomaly = await paid_after_failure(world)
    key = uuid4().hex

    first = await resolved(world, anomaly, ADOPT, key=key)
    again = await resolved(world, anomaly, ADOPT, key=key)

    assert (first.status_code, first.json()["state"]) == (200, "resolved")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)
    refund = (await world.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"][0]
    assert (refund["state"], refund["legs"][0]["outcome_source"]) == ("succeeded", "person")
    assert_problem(await resolved(world, anomaly, NOTE, key=key), 422, "idempotency-key-reused")


async def test_of_many_who_adopt_at_once_exactly_one_does(world: World) -> None:
    payment, anomaly = await paid_after_failure(world)

    answers = await asyncio.gather(*(resolved(world, anomaly, ADOPT, sub=f"agent-{number}") for number in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)
    told = [record["type"] for record in await world.records(payment)]
    assert (told.count("anomaly.resolved"), told.count("refund.succeeded")) == (1, 1)


async def test_a_late_capture_goes_back_by_two_persons(world: World) -> None:
    payment, anomaly = await captured_late(world)
    assert anomaly["available_actions"] == ["note", "refund"]

    proposed = await resolved(world, anomaly, REFUND)

    assert (proposed.status_code, proposed.json()["state"]) == (200, "awaiting_second_approval")
    assert proposed.json()["available_actions"] == ["note"]
    assert amounts(await world.payment(payment))[:3] == ("failed", 0, 0)
    for call in ({"role": "agent"}, {"role": "agent", "sub": "agent-2"}, {"role": "supervisor", "sub": "agent-1"}):
        assert_problem(await resolved(world, anomaly, REFUND, **call), 403, "second-approver-required")
    assert (await read(world, anomaly, "supervisor"))["available_actions"] == ["note", "refund"]

    confirmed = await resolved(world, anomaly, REFUND, "supervisor")

    assert [(one["action"], one["by"], one["note"]) for one in confirmed.json()["steps"]] == [
        ("refund", "agent-1", REFUND["note"]),
        ("refund", "supervisor-1", REFUND["note"]),
    ]
    await world.worker.drain()
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)
    (cancellation,) = (await world.get("/v1/cancellations", "agent", params={"payment_id": payment["id"]})).json()["data"]
    assert cancellation["requested_by"] == {"role": "agent", "id": "agent-1"}
    assert [(one["by"], one["role"]) for one in cancellation["approvals"]] == [("supervisor-1", "supervisor")]
    assert sum(one["amount"] for one in await world.movements(payment)) == 10_000


async def test_of_many_supervisors_who_confirm_at_once_exactly_one_does(world: World) -> None:
    payment, anomaly = await captured_late(world)
    await resolved(world, anomaly, REFUND)

    answers = await asyncio.gather(*(resolved(world, anomaly, REFUND, "supervisor", sub=f"s-{number}") for number in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    await world.worker.drain()
    assert amounts(await world.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_of_two_who_propose_at_once_one_does_and_the_other_confirms_or_is_told(world: World) -> None:
    _, anomaly = await captured_late(world)

    answers = await asyncio.gather(*(resolved(world, anomaly, REFUND, sub=f"agent-{number}") for number in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    assert len((await read(world, anomaly))["steps"]) == 1


async def test_a_proposal_is_dropped_by_a_note_and_stays_dropped(world: World) -> None:
    payment, anomaly = await captured_late(world)
    await resolved(world, anomaly, REFUND)

    dropped = await resolved(world, anomaly, NOTE, sub="agent-2")

    assert (dropped.status_code, dropped.json()["state"]) == (200, "resolved")
    assert_problem(await resolved(world, anomaly, REFUND, "supervisor"), 409, "invalid-state", state="resolved")
    assert_problem(await world.post(f"/v1/payments/{payment['id']}/complete"), 409, "invalid-state")
    assert (await of(world, payment))["state"] == "resolved"
    assert amounts(await world.payment(payment))[:3] == ("failed", 0, 0)


async def test_a_word_of_no_payment_is_resolved_on_the_services_chain(world: World) -> None:
    anomaly = await without_payment(world)
    assert (anomaly["payment_id"], anomaly["available_actions"]) == (None, ["note"])
    key = uuid4().hex

    first = await resolved(world, anomaly, NOTE, key=key)
    again = await resolved(world, anomaly, NOTE, key=key)

    assert (first.status_code, first.json()["state"], first.json()["steps"][0]["note"]) == (200, "resolved", "looked into")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert await read(world, anomaly) == first.json()
    (record, *_) = (await world.get("/v1/records", "auditor", params={"type": "anomaly.resolved", "limit": 1})).json()["data"]
    assert (record["chain"], record["payment_id"], record["data"]["anomaly_id"]) == ("service", None, anomaly["id"])
    assert "looked into" not in str(record)
    assert_problem(await resolved(world, anomaly, NOTE), 409, "invalid-state", state="resolved", available_actions=[])
    assert_problem(await resolved(world, anomaly, ADOPT, key=key), 422, "idempotency-key-reused")


async def test_of_many_who_resolve_a_word_of_no_payment_exactly_one_does(world: World) -> None:
    anomaly = await without_payment(world)

    answers = await asyncio.gather(*(resolved(world, anomaly, NOTE, sub=f"agent-{number}") for number in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert len((await read(world, anomaly))["steps"]) == 1


@pytest.mark.parametrize("body", [ADOPT, REFUND], ids=["adopt", "refund"])
async def test_what_is_not_possible_is_refused_with_what_is_and_the_refusal_is_kept(world: World, body: Json) -> None:
    anomalies = [await without_payment(world), (await (captured_late if body is ADOPT else paid_after_failure)(world))[1]]
    for anomaly in anomalies:
        key, before = uuid4().hex, await world.rows()

        first = await resolved(world, anomaly, body, key=key)
        again = await resolved(world, anomaly, body, key=key)

        possible = anomaly["available_actions"]
        assert_problem(first, 409, "invalid-state", state="open", available_actions=possible)
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        after = await world.rows()
        assert after == {**before, "kept_reply": before["kept_reply"] + 1}


async def test_another_version_is_refused(world: World) -> None:
    for anomaly in (await without_payment(world), (await captured_late(world))[1]):
        stale = await resolved(world, anomaly, NOTE, headers={"if-match": '"2"'})
        fresh = await resolved(world, anomaly, NOTE, headers={"if-match": '"1"'})

        assert_problem(stale, 412, "version-mismatch", current_version=1)
        assert fresh.status_code == 200


async def test_an_anomaly_that_is_not_there_is_404_before_all_else(world: World) -> None:
    nobody = {"id": "ano_" + "0" * 32}

    assert_problem(await world.get(f"/v1/anomalies/{nobody['id']}", "auditor"), 404, "not-found")
    for body in (NOTE, {"action": "nonsense"}):
        assert_problem(await resolved(world, nobody, body), 404, "not-found")
    for role in ("wallet", "merchant", "operator"):
        assert_problem(await world.get("/v1/anomalies", role), 403, "forbidden")


@pytest.mark.parametrize("body", [{"action": "note"}, {"action": "note", "note": " "}, {"note": "x"}, {"action": "drop", "note": "x"}])
async def test_a_resolution_says_what_and_why(world: World, body: Json) -> None:
    anomaly = await without_payment(world)

    assert_problem(await resolved(world, anomaly, body), 422, "validation-failed")

    assert (await read(world, anomaly))["state"] == "open"
