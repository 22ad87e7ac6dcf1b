"""Words that no transition allows: who sees them, and what two people make of them at the same moment."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.harness import Api, Json, amounts, assert_problem, funding

NOTE: Json = {"action": "note", "note": "looked into"}
ADOPT: Json = {"action": "adopt", "note": "the statement shows it"}
REFUND: Json = {"action": "refund", "note": "taken after the cancellation"}


async def heard(api: Api, key: str, status: str, **more: object) -> None:
    assert (await api.notify(api.word(key, status, **more))).status_code == 200
    await api.worker.drain()


async def of(api: Api, payment: Json) -> Json:
    """The payment's one anomaly."""
    (found,) = (await api.get("/v1/anomalies", "agent", params={"payment_id": payment["id"]})).json()["data"]
    return dict(found)


async def paid_after_failure(api: Api) -> tuple[Json, Json]:
    """A payment whose refund the rail refused and then paid, and the anomaly that this is."""
    payment = await api.register(funding=funding(("card", 10_000), reference="pending:6000s"))
    await api.requested(payment)
    await api.worker.drain()
    key = next(record["data"]["rail_key"] for record in await api.records(payment) if record["type"] == "refund.processing")
    await heard(api, key, "failed", failure_code="account_closed")
    await heard(api, key, "succeeded")
    return payment, await of(api, payment)


async def captured_late(api: Api) -> tuple[Json, Json]:
    """A payment that failed, of which the wallet says later that it was taken all the same."""
    payment = await api.register(completed_at=None)
    path = f"/v1/payments/{payment['id']}"
    assert (await api.post(f"{path}/fail", {"code": "network"})).status_code == 200
    assert_problem(await api.post(f"{path}/complete"), 409, "invalid-state", state="failed")
    return payment, await of(api, payment)


async def without_payment(api: Api) -> Json:
    """A word about a movement that nobody knows."""
    await heard(api, uuid4().hex, "succeeded")
    return dict((await api.get("/v1/anomalies", "agent", params={"kind": "unknown_key", "limit": 1})).json()["data"][0])


async def resolved(api: Api, anomaly: Json, body: Json, role: str = "agent", **call: Any) -> httpx.Response:
    return await api.post(f"/v1/anomalies/{anomaly['id']}/resolve", body, role=role, **call)


async def read(api: Api, anomaly: Json, role: str = "agent", **call: Any) -> Json:
    return dict((await api.get(f"/v1/anomalies/{anomaly['id']}", role, **call)).json())


async def test_an_anomaly_says_what_was_said_and_what_can_be_done(api: Api) -> None:
    payment, anomaly = await paid_after_failure(api)

    refund = (await api.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"][0]
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
    assert await read(api, anomaly) == anomaly
    assert await read(api, anomaly, "auditor") == {**anomaly, "available_actions": []}
    chinese = await read(api, anomaly, headers={"accept-language": "zh-CN"})
    assert chinese["message"].startswith("支付渠道报告一笔此前失败的退款已到账。")


async def test_anomalies_are_found_by_what_they_are(api: Api) -> None:
    payment, anomaly = await paid_after_failure(api)
    queries: list[tuple[Json, bool]] = [
        ({}, True),
        ({"kind": "paid_after_failure"}, True),
        ({"kind": "paid_twice"}, False),
        ({"provider": "sandbox"}, True),
        ({"provider": "other"}, False),
        ({"state": "open"}, True),
        ({"state": "awaiting_second_approval"}, False),
        ({"state": "resolved"}, False),
        ({"created_from": api.clock.ago()}, True),
        ({"created_to": api.clock.ago()}, False),
    ]

    for query, found in queries:
        data = (await api.get("/v1/anomalies", "agent", params={"payment_id": payment["id"], **query})).json()["data"]
        assert data == ([anomaly] if found else []), query


async def test_the_list_is_walked_whole_newest_first_with_words_of_no_payment(api: Api) -> None:
    made = []
    for _ in range(3):
        api.clock.now += timedelta(seconds=1)
        made.append((await without_payment(api))["id"])
        api.clock.now += timedelta(seconds=1)
        made.append((await captured_late(api))[1]["id"])
    for query in ({}, {"state": "open"}):
        found = [one["id"] for one in await api.walk("/v1/anomalies", "auditor", 4, **query)]

        assert len(set(found)) == len(found)
        assert [one for one in found if one in made] == made[::-1]


async def test_a_note_resolves_and_nothing_moves(api: Api) -> None:
    payment, anomaly = await paid_after_failure(api)
    before = amounts(await api.payment(payment))

    response = await resolved(api, anomaly, NOTE)

    said = response.json()
    assert (response.status_code, response.headers["etag"], said["state"], said["version"]) == (200, '"2"', "resolved", 2)
    assert said["steps"] == [{"action": "note", "by": "agent-1", "role": "agent", "at": said["updated_at"], "note": "looked into"}]
    assert said["available_actions"] == []
    assert said["message"].endswith("It is resolved, and nothing is left to do.")
    assert await read(api, anomaly) == said
    assert amounts(await api.payment(payment)) == before
    record = (await api.records(payment))[-1]
    assert (record["type"], record["data"]["action"], record["data"]["anomaly_id"]) == ("anomaly.resolved", "note", anomaly["id"])
    assert_problem(await resolved(api, anomaly, NOTE), 409, "invalid-state", state="resolved", available_actions=[])


async def test_what_was_paid_after_all_is_adopted_and_told_again_to_who_asks_again(api: Api) -> None:
    payment, anomaly = await paid_after_failure(api)
    key = uuid4().hex

    first = await resolved(api, anomaly, ADOPT, key=key)
    again = await resolved(api, anomaly, ADOPT, key=key)

    assert (first.status_code, first.json()["state"]) == (200, "resolved")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    refund = (await api.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"][0]
    assert (refund["state"], refund["legs"][0]["outcome_source"]) == ("succeeded", "person")
    assert_problem(await resolved(api, anomaly, NOTE, key=key), 422, "idempotency-key-reused")


async def test_of_many_who_adopt_at_once_exactly_one_does(api: Api) -> None:
    payment, anomaly = await paid_after_failure(api)

    answers = await asyncio.gather(*(resolved(api, anomaly, ADOPT, sub=f"agent-{number}") for number in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    told = [record["type"] for record in await api.records(payment)]
    assert (told.count("anomaly.resolved"), told.count("refund.succeeded")) == (1, 1)


async def test_a_late_capture_goes_back_by_two_persons(api: Api) -> None:
    payment, anomaly = await captured_late(api)
    assert anomaly["available_actions"] == ["note", "refund"]

    proposed = await resolved(api, anomaly, REFUND)

    assert (proposed.status_code, proposed.json()["state"]) == (200, "awaiting_second_approval")
    assert proposed.json()["available_actions"] == ["note"]
    assert amounts(await api.payment(payment))[:3] == ("failed", 0, 0)
    for call in ({"role": "agent"}, {"role": "agent", "sub": "agent-2"}, {"role": "supervisor", "sub": "agent-1"}):
        assert_problem(await resolved(api, anomaly, REFUND, **call), 403, "second-approver-required")
    assert (await read(api, anomaly, "supervisor"))["available_actions"] == ["note", "refund"]

    confirmed = await resolved(api, anomaly, REFUND, "supervisor")

    assert [(one["action"], one["by"], one["note"]) for one in confirmed.json()["steps"]] == [
        ("refund", "agent-1", REFUND["note"]),
        ("refund", "supervisor-1", REFUND["note"]),
    ]
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)
    (cancellation,) = (await api.get("/v1/cancellations", "agent", params={"payment_id": payment["id"]})).json()["data"]
    assert cancellation["requested_by"] == {"role": "agent", "id": "agent-1"}
    assert [(one["by"], one["role"]) for one in cancellation["approvals"]] == [("supervisor-1", "supervisor")]
    assert sum(one["amount"] for one in await api.movements(payment)) == 10_000


async def test_of_many_supervisors_who_confirm_at_once_exactly_one_does(api: Api) -> None:
    payment, anomaly = await captured_late(api)
    await resolved(api, anomaly, REFUND)

    answers = await asyncio.gather(*(resolved(api, anomaly, REFUND, "supervisor", sub=f"s-{number}") for number in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    await api.worker.drain()
    assert amounts(await api.payment(payment)) == ("refunded", 10_000, 0, 0)


async def test_of_two_who_propose_at_once_one_does_and_the_other_confirms_or_is_told(api: Api) -> None:
    _, anomaly = await captured_late(api)

    answers = await asyncio.gather(*(resolved(api, anomaly, REFUND, sub=f"agent-{number}") for number in range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    assert len((await read(api, anomaly))["steps"]) == 1


async def test_a_proposal_is_dropped_by_a_note_and_stays_dropped(api: Api) -> None:
    payment, anomaly = await captured_late(api)
    await resolved(api, anomaly, REFUND)

    dropped = await resolved(api, anomaly, NOTE, sub="agent-2")

    assert (dropped.status_code, dropped.json()["state"]) == (200, "resolved")
    assert_problem(await resolved(api, anomaly, REFUND, "supervisor"), 409, "invalid-state", state="resolved")
    assert_problem(await api.post(f"/v1/payments/{payment['id']}/complete"), 409, "invalid-state")
    assert (await of(api, payment))["state"] == "resolved"
    assert amounts(await api.payment(payment))[:3] == ("failed", 0, 0)


async def test_a_word_of_no_payment_is_resolved_on_the_services_chain(api: Api) -> None:
    anomaly = await without_payment(api)
    assert (anomaly["payment_id"], anomaly["available_actions"]) == (None, ["note"])
    key = uuid4().hex

    first = await resolved(api, anomaly, NOTE, key=key)
    again = await resolved(api, anomaly, NOTE, key=key)

    assert (first.status_code, first.json()["state"], first.json()["steps"][0]["note"]) == (200, "resolved", "looked into")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert await read(api, anomaly) == first.json()
    (record, *_) = (await api.get("/v1/records", "auditor", params={"type": "anomaly.resolved", "limit": 1})).json()["data"]
    assert (record["chain"], record["payment_id"], record["data"]["anomaly_id"]) == ("service", None, anomaly["id"])
    assert "looked into" not in str(record)
    assert_problem(await resolved(api, anomaly, NOTE), 409, "invalid-state", state="resolved", available_actions=[])
    assert_problem(await resolved(api, anomaly, ADOPT, key=key), 422, "idempotency-key-reused")


async def test_of_many_who_resolve_a_word_of_no_payment_exactly_one_does(api: Api) -> None:
    anomaly = await without_payment(api)

    answers = await asyncio.gather(*(resolved(api, anomaly, NOTE, sub=f"agent-{number}") for number in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert len((await read(api, anomaly))["steps"]) == 1


@pytest.mark.parametrize("body", [ADOPT, REFUND], ids=["adopt", "refund"])
async def test_what_is_not_possible_is_refused_with_what_is_and_the_refusal_is_kept(api: Api, body: Json) -> None:
    anomalies = [await without_payment(api), (await (captured_late if body is ADOPT else paid_after_failure)(api))[1]]
    for anomaly in anomalies:
        key, before = uuid4().hex, await api.rows()

        first = await resolved(api, anomaly, body, key=key)
        again = await resolved(api, anomaly, body, key=key)

        possible = anomaly["available_actions"]
        assert_problem(first, 409, "invalid-state", state="open", available_actions=possible)
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        after = await api.rows()
        assert after == {**before, "kept_reply": before["kept_reply"] + 1}


async def test_another_version_is_refused(api: Api) -> None:
    for anomaly in (await without_payment(api), (await captured_late(api))[1]):
        stale = await resolved(api, anomaly, NOTE, headers={"if-match": '"2"'})
        fresh = await resolved(api, anomaly, NOTE, headers={"if-match": '"1"'})

        assert_problem(stale, 412, "version-mismatch", current_version=1)
        assert fresh.status_code == 200


async def test_an_anomaly_that_is_not_there_is_404_before_all_else(api: Api) -> None:
    nobody = {"id": "ano_" + "0" * 32}

    assert_problem(await api.get(f"/v1/anomalies/{nobody['id']}", "auditor"), 404, "not-found")
    for body in (NOTE, {"action": "nonsense"}):
        assert_problem(await resolved(api, nobody, body), 404, "not-found")
    for role in ("wallet", "merchant", "operator"):
        assert_problem(await api.get("/v1/anomalies", role), 403, "forbidden")


@pytest.mark.parametrize("body", [{"action": "note"}, {"action": "note", "note": " "}, {"note": "x"}, {"action": "drop", "note": "x"}])
async def test_a_resolution_says_what_and_why(api: Api, body: Json) -> None:
    anomaly = await without_payment(api)

    assert_problem(await resolved(api, anomaly, body), 422, "validation-failed")

    assert (await read(api, anomaly))["state"] == "open"
