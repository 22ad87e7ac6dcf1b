"""A rail's word: nobody else may speak for it, and nothing that it says is dropped or done twice."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.harness import Api, Json, assert_problem


async def pending(api: Api) -> tuple[Json, Json, str]:
    """A payment whose refund the rail accepted and has not confirmed; the cancellation, and the rail's key."""
    funding = [{"source": "card", "amount": 10_000, "provider": "sandbox", "provider_reference": "pending:6000s"}]
    payment = await api.register(funding=funding)
    asked = (await api.requested(payment)).json()
    await api.worker.drain()
    cancellation = await api.cancellation(asked)
    assert cancellation["refund"]["state"] == "processing"
    key = next(record["data"]["rail_key"] for record in await api.records(payment) if record["type"] == "refund.processing")
    return payment, cancellation, key


async def test_a_word_is_stored_then_acted_on(api: Api) -> None:
    payment, cancellation, key = await pending(api)
    before = await api.payment(payment)

    response = await api.notify(api.word(key))

    assert response.status_code == 200
    assert await api.payment(payment) == before
    await api.worker.drain()
    after = await api.payment(payment)
    assert (after["state"], after["amount_refunded"]) == ("refunded", 10_000)
    leg = (await api.cancellation(cancellation))["refund"]["legs"][0]
    assert (leg["state"], leg["outcome_source"], leg["provider_refund_id"]) == ("succeeded", "notification", "re_1")


async def test_the_same_word_again_changes_nothing(api: Api) -> None:
    payment, _, key = await pending(api)
    said = api.word(key)
    await api.notify(said)
    await api.worker.drain()
    rows, records = await api.rows(), await api.records(payment)

    assert (await api.notify(said)).status_code == 200
    assert await api.rows() == rows
    assert (await api.notify(api.word(key))).status_code == 200
    await api.worker.drain()

    assert await api.records(payment) == records
    assert (await api.payment(payment))["amount_refunded"] == 10_000


async def test_words_in_disorder_come_to_the_same(api: Api) -> None:
    payment, cancellation, key = await pending(api)

    await api.notify(api.word(key))
    await api.notify(api.word(key, "pending"))
    await api.worker.drain()

    assert (await api.payment(payment))["state"] == "refunded"
    assert (await api.cancellation(cancellation))["state"] == "completed"


async def test_a_decline_by_notification_needs_attention(api: Api) -> None:
    payment, cancellation, key = await pending(api)

    await api.notify(api.word(key, "failed", failure_code="account_closed"))
    await api.worker.drain()

    assert (await api.cancellation(cancellation))["state"] == "needs_attention"
    assert (await api.payment(payment))["state"] == "refunding"


async def test_money_that_comes_back_reopens_the_cancellation(api: Api) -> None:
    payment, cancellation, key = await pending(api)
    await api.notify(api.word(key))
    await api.worker.drain()

    await api.notify(api.word(key, "returned", failure_code="account_closed"))
    await api.worker.drain()

    after = await api.payment(payment)
    assert (after["state"], after["amount_refunded"], after["amount_reserved"]) == ("refunding", 0, 10_000)
    assert (await api.cancellation(cancellation))["state"] == "needs_attention"


async def test_a_word_about_another_amount_is_an_anomaly_and_refunds_nothing(api: Api) -> None:
    payment, _, key = await pending(api)

    await api.notify(api.word(key, amount=9_999))
    await api.worker.drain()

    assert "payment.anomaly" in [record["type"] for record in await api.records(payment)]
    assert (await api.payment(payment))["amount_refunded"] == 0


@pytest.mark.parametrize("status", ["succeeded", "failed", "pending", "returned", "settled", "requires_action", "strange"])
async def test_a_word_about_an_unknown_key_is_kept(api: Api, status: str) -> None:
    before = await api.rows()

    for key in ("0" * 64, uuid4().hex * 2, "not one of ours", "x" * 255):
        assert (await api.notify(api.word(key, status, failure_code="x"))).status_code == 200
    await api.worker.drain()

    after = await api.rows()
    assert after["notification"] == before["notification"] + 4
    assert after["anomaly"] == before["anomaly"] + 4, "where somebody can see them"
    kept = {"notification": 0, "anomaly": 0}
    assert {**after, **kept} == {**before, **kept}


@pytest.mark.parametrize(("status", "more", "kind"), [("succeeded", {"amount": 9_999}, "amount_mismatch"), ("strange", {}, "unreadable")])
async def test_one_word_is_one_anomaly_however_often_it_comes(api: Api, status: str, more: Json, kind: str) -> None:
    payment, _, key = await pending(api)
    said = api.word(key, status, **more)
    before = await api.rows()

    for id_ in (said["id"], said["id"], uuid4().hex) if status == "succeeded" else (said["id"], said["id"]):
        assert (await api.notify({**said, "id": id_})).status_code == 200
        await api.worker.drain()

    assert (await api.rows())["anomaly"] == before["anomaly"] + 1
    assert await api.owner.fetchval("select kind from anomaly order by created_at desc, id desc limit 1") == kind
    told = [record["data"] for record in await api.records(payment) if record["type"] == "payment.anomaly"]
    assert [data["kind"] for data in told] == [kind]


async def test_who_cannot_sign_is_nobody(api: Api) -> None:
    payment, _, key = await pending(api)
    before = await api.rows()
    path = "/v1/providers/sandbox/notifications"
    bearer = {"authorization": f"Bearer {api.token('operator')}", "content-type": "application/json"}

    answers = [
        await api.http.post(path, json=api.word(key)),
        await api.http.post(path, json=api.word(key), headers=bearer),
        await api.http.post(path, json=api.word(key), headers={"refundry-sandbox-signature": "t=1,v1=00"}),
        await api.http.post(path, json=api.word(key), headers={"refundry-sandbox-signature": "\x7f" * 500}),
        await api.notify(api.word(key), secret="another"),
        await api.notify(api.word(key), secret=""),
        await api.notify(api.word(key), age=timedelta(minutes=6)),
        await api.notify(api.word(key), age=-timedelta(minutes=6)),
    ]

    for answer in answers:
        assert_problem(answer, 401, "unauthenticated")
    assert await api.rows() == before
    await api.worker.drain()
    assert (await api.payment(payment))["amount_refunded"] == 0


async def test_a_signature_is_of_its_own_body(api: Api) -> None:
    _, _, key = await pending(api)
    signed = await api.notify(api.word(key, "pending"))
    signature = signed.request.headers["refundry-sandbox-signature"]
    headers = {"refundry-sandbox-signature": signature, "content-type": "application/json"}

    forged = await api.http.post("/v1/providers/sandbox/notifications", json=api.word(key), headers=headers)

    assert_problem(forged, 401, "unauthenticated")


@pytest.mark.parametrize("provider", ["stripe", "wallet", "nothing", "%00", "SANDBOX"])
async def test_rails_that_are_not_there(api: Api, provider: str) -> None:
    assert_problem(await api.http.post(f"/v1/providers/{provider}/notifications", json={}), 404, "not-found")


async def test_a_word_too_long_is_refused(api: Api) -> None:
    assert_problem(await api.notify(api.word("0" * 64, more="x" * 300_000)), 413, "body-too-large")
