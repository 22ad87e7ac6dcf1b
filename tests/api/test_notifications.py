"""A rail's word: nobody else may speak for it, and nothing that it says is dropped or done twice."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.api.world import Json, World, assert_problem
from workflows.domain.times import rfc3339


async def pending(world: World) -> tuple[Json, Json, str]:
    """A payment whose refund the rail accepted and has not confirmed; the cancellation, and the rail's key."""
    funding = [{"source": "card", "amount": 10_000, "provider": "sandbox", "provider_reference": "pending:6000s"}]
    payment = await world.register(funding=funding)
    asked = (await world.requested(payment)).json()
    await world.worker.drain()
    cancellation = await world.cancellation(asked)
    assert cancellation["refund"]["state"] == "processing"
    key = next(record["data"]["rail_key"] for record in await world.records(payment) if record["type"] == "refund.processing")
    return payment, cancellation, key


def word(world: World, key: str, status: str = "succeeded", **more: object) -> Json:
    usual = {"id": uuid4().hex, "rail_key": key, "status": status, "at": rfc3339(world.clock.now), "amount": 10_000, "currency": "CNY"}
    return {**usual, "provider_refund_id": "re_1", **more}


async def test_a_word_is_stored_then_acted_on(world: World) -> None:
    payment, cancellation, key = await pending(world)
    before = await world.payment(payment)

    response = await world.notify(word(world, key))

    assert response.status_code == 200
    assert await world.payment(payment) == before
    await world.worker.drain()
    after = await world.payment(payment)
    assert (after["state"], after["amount_refunded"]) == ("refunded", 10_000)
    leg = (await world.cancellation(cancellation))["refund"]["legs"][0]
    assert (leg["state"], leg["outcome_source"], leg["provider_refund_id"]) == ("succeeded", "notification", "re_1")


async def test_the_same_word_again_changes_nothing(world: World) -> None:
    payment, _, key = await pending(world)
    said = word(world, key)
    await world.notify(said)
    await world.worker.drain()
    rows, records = await world.rows(), await world.records(payment)

    assert (await world.notify(said)).status_code == 200
    assert await world.rows() == rows
    assert (await world.notify(word(world, key))).status_code == 200
    await world.worker.drain()

    assert await world.records(payment) == records
    assert (await world.payment(payment))["amount_refunded"] == 10_000


async def test_words_in_disorder_come_to_the_same(world: World) -> None:
    payment, cancellation, key = await pending(world)

    await world.notify(word(world, key))
    await world.notify(word(world, key, "pending"))
    await world.worker.drain()

    assert (await world.payment(payment))["state"] == "refunded"
    assert (await world.cancellation(cancellation))["state"] == "completed"


async def test_a_decline_by_notification_needs_attention(world: World) -> None:
    payment, cancellation, key = await pending(world)

    await world.notify(word(world, key, "failed", failure_code="account_closed"))
    await world.worker.drain()

    assert (await world.cancellation(cancellation))["state"] == "needs_attention"
    assert (await world.payment(payment))["state"] == "refunding"


async def test_money_that_comes_back_reopens_the_cancellation(world: World) -> None:
    payment, cancellation, key = await pending(world)
    await world.notify(word(world, key))
    await world.worker.drain()

    await world.notify(word(world, key, "returned", failure_code="account_closed"))
    await world.worker.drain()

    after = await world.payment(payment)
    assert (after["state"], after["amount_refunded"], after["amount_reserved"]) == ("refunding", 0, 10_000)
    assert (await world.cancellation(cancellation))["state"] == "needs_attention"


async def test_a_word_about_another_amount_is_an_anomaly_and_refunds_nothing(world: World) -> None:
    payment, _, key = await pending(world)

    await world.notify(word(world, key, amount=9_999))
    await world.worker.drain()

    assert "payment.anomaly" in [record["type"] for record in await world.records(payment)]
    assert (await world.payment(payment))["amount_refunded"] == 0


@pytest.mark.parametrize("status", ["succeeded", "failed", "pending", "returned", "settled", "requires_action", "strange"])
async def test_a_word_about_an_unknown_key_is_kept(world: World, status: str) -> None:
    before = await world.rows()

    for key in ("0" * 64, uuid4().hex * 2, "not one of ours", "x" * 255):
        assert (await world.notify(word(world, key, status, failure_code="x"))).status_code == 200
    await world.worker.drain()

    after = await world.rows()
    assert after["notification"] == before["notification"] + 4
    assert after["anomaly"] == before["anomaly"] + 4, "where somebody can see them"
    kept = {"notification": 0, "anomaly": 0}
    assert {**after, **kept} == {**before, **kept}


@pytest.mark.parametrize(("status", "more", "kind"), [("succeeded", {"amount": 9_999}, "amount_mismatch"), ("strange", {}, "unreadable")])
async def test_one_word_is_one_anomaly_however_often_it_comes(world: World, status: str, more: Json, kind: str) -> None:
    payment, _, key = await pending(world)
    said = word(world, key, status, **more)
    before = await world.rows()

    for id_ in (said["id"], said["id"], uuid4().hex) if status == "succeeded" else (said["id"], said["id"]):
        assert (await world.notify({**said, "id": id_})).status_code == 200
        await world.worker.drain()

    assert (await world.rows())["anomaly"] == before["anomaly"] + 1
    assert await world.owner.fetchval("select kind from anomaly order by created_at desc, id desc limit 1") == kind
    told = [record["data"] for record in await world.records(payment) if record["type"] == "payment.anomaly"]
    assert [data["kind"] for data in told] == [kind]


async def test_who_cannot_sign_is_nobody(world: World) -> None:
    payment, _, key = await pending(world)
    before = await world.rows()
    path = "/v1/providers/sandbox/notifications"
    bearer = {"authorization": f"Bearer {world.token('operator')}", "content-type": "application/json"}

    answers = [
        await world.http.post(path, json=word(world, key)),
        await world.http.post(path, json=word(world, key), headers=bearer),
        await world.http.post(path, json=word(world, key), headers={"refundry-sandbox-signature": "t=1,v1=00"}),
        await world.http.post(path, json=word(world, key), headers={"refundry-sandbox-signature": "\x7f" * 500}),
        await world.notify(word(world, key), secret="another"),
        await world.notify(word(world, key), secret=""),
        await world.notify(word(world, key), age=timedelta(minutes=6)),
        await world.notify(word(world, key), age=-timedelta(minutes=6)),
    ]

    for answer in answers:
        assert_problem(answer, 401, "unauthenticated")
    assert await world.rows() == before
    await world.worker.drain()
    assert (await world.payment(payment))["amount_refunded"] == 0


async def test_a_signature_is_of_its_own_body(world: World) -> None:
    _, _, key = await pending(world)
    signed = await world.notify(word(world, key, "pending"))
    signature = signed.request.headers["refundry-sandbox-signature"]
    headers = {"refundry-sandbox-signature": signature, "content-type": "application/json"}

    forged = await world.http.post("/v1/providers/sandbox/notifications", json=word(world, key), headers=headers)

    assert_problem(forged, 401, "unauthenticated")


@pytest.mark.parametrize("provider", ["stripe", "wallet", "nothing", "%00", "SANDBOX"])
async def test_rails_that_are_not_there(world: World, provider: str) -> None:
    assert_problem(await world.http.post(f"/v1/providers/{provider}/notifications", json={}), 404, "not-found")


async def test_a_word_too_long_is_refused(world: World) -> None:
    assert_problem(await world.notify(word(world, "0" * 64, more="x" * 300_000)), 413, "body-too-large")
