"""The same key again: the same answer, and nothing happens twice."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.harness import Api, Json, assert_problem


async def test_the_first_answer_comes_again_byte_for_byte(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex
    first = await api.requested(payment, amount=10, key=key)
    await api.worker.drain()
    kept = await api.rows()

    again = await api.requested(payment, amount=10, key=key)

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    for name in ("location", "etag", "content-type", "content-language"):
        assert again.headers[name] == first.headers[name]
    assert await api.rows() == kept


async def test_every_action_replays_though_the_state_has_moved_on(api: Api) -> None:
    payment = await api.register(completed_at=None)
    base, keys = f"/v1/payments/{payment['id']}", [uuid4().hex for _ in range(4)]
    calls: list[tuple[str, Json]] = [
        (f"{base}/modifications", {"amount": 500, "reason": "less"}),
        (f"{base}/fulfilment", {"status": "preparing"}),
        (f"{base}/complete", {}),
        (f"{base}/fulfilment", {"status": "delivered"}),
    ]

    first = [await api.post(path, body, key=key) for (path, body), key in zip(calls, keys, strict=True)]
    again = [await api.post(path, body, key=key) for (path, body), key in zip(calls, keys, strict=True)]

    assert [one.status_code for one in first] == [200] * 4
    assert [one.content for one in again] == [one.content for one in first]
    assert all(one.headers["idempotent-replayed"] == "true" for one in again)
    assert len(await api.records(payment)) == 5


async def test_how_the_body_was_written_does_not_matter(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex
    path = f"/v1/payments/{payment['id']}/cancellations"
    first = await api.post(path, b'{"reason":"duplicate","amount":7}', key=key)

    again = await api.post(path, b'{ "amount" : 7,\n "reason": "dupli\\u0063ate" }', key=key)

    assert (again.status_code, again.content) == (201, first.content)


@pytest.mark.parametrize("other", [{"amount": 11}, {"amount": 10, "note": "x"}, {"reason": "duplicate", "amount": 10}, {}])
async def test_a_key_for_another_request_is_refused(api: Api, other: Json) -> None:
    payment, key = await api.register(), uuid4().hex
    await api.requested(payment, amount=10, key=key)

    assert_problem(await api.requested(payment, **{"reason": "changed_mind", **other}, key=key), 422, "idempotency-key-reused")


async def test_another_path_of_the_same_payment_is_another_request(api: Api) -> None:
    payment, key = await api.register(completed_at=None), uuid4().hex
    await api.post(f"/v1/payments/{payment['id']}/complete", {}, key=key)

    assert_problem(
        await api.post(f"/v1/payments/{payment['id']}/fulfilment", {"status": "shipped"}, key=key), 422, "idempotency-key-reused"
    )


async def test_a_withdrawal_shares_its_payments_keys(api: Api) -> None:
    payment, key = await api.register(completed_at=api.clock.ago(hours=1)), uuid4().hex
    asked = (await api.requested(payment, key=key)).json()

    assert_problem(await api.post(f"/v1/cancellations/{asked['id']}/withdraw", key=key), 422, "idempotency-key-reused")
    done = await api.post(f"/v1/cancellations/{asked['id']}/withdraw", key=key + "w")
    again = await api.post(f"/v1/cancellations/{asked['id']}/withdraw", key=key + "w")
    assert (again.content, again.headers["idempotent-replayed"]) == (done.content, "true")


async def test_bare_and_quoted_are_one_key(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex
    first = await api.requested(payment, amount=1, key=key)

    again = await api.requested(payment, amount=1, key=f'"{key}"')

    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")


@pytest.mark.parametrize("key", ["k", "k" * 255, "!~", "a,b;c=d", '"a\\"b"'])
async def test_good_keys(api: Api, key: str) -> None:
    assert (await api.requested(await api.register(), key=key)).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a b", "\x7f", '"open', '""', "schl\u00fcssel"])
async def test_bad_keys(api: Api, key: str) -> None:
    payment = await api.register()
    before = await api.rows()
    headers = {"authorization": f"Bearer {api.token('wallet')}", "content-type": "application/json"}

    response = await api.http.post(
        f"/v1/payments/{payment['id']}/cancellations",
        content=b'{"reason":"duplicate"}',
        headers=[*((n.encode(), v.encode()) for n, v in headers.items()), (b"idempotency-key", key.encode())],
    )

    said = assert_problem(response, 400, "malformed-request")
    assert said["errors"][0]["pointer"] == "/headers/idempotency-key"
    assert "header" in said["detail"]
    assert await api.rows() == before


async def test_a_refusal_is_kept(api: Api) -> None:
    payment, key = await api.register(completed_at=api.clock.ago(days=40)), uuid4().hex
    refused = await api.requested(payment, key=key)
    kept = await api.rows()

    again = await api.requested(payment, key=key)
    chinese = await api.requested(payment, key=key, headers={"accept-language": "zh-CN"})

    assert_problem(refused, 422, "policy-refused")
    assert (again.content, again.headers["idempotent-replayed"]) == (refused.content, "true")
    assert again.headers["content-type"] == "application/problem+json"
    assert chinese.content == refused.content
    assert await api.rows() == kept


async def test_a_refusal_stays_though_the_reason_for_it_has_gone(api: Api) -> None:
    payment, key = await api.register(completed_at=api.clock.ago(hours=1)), uuid4().hex
    asked = (await api.requested(payment)).json()
    refused = await api.requested(payment, key=key)
    await api.post(f"/v1/cancellations/{asked['id']}/withdraw")

    again = await api.requested(payment, key=key)

    assert_problem(again, 409, "cancellation-open")
    assert (again.content, again.headers["idempotent-replayed"]) == (refused.content, "true")


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, {"colour": "red"}, 422, "validation-failed"),
        ({"if-match": '"9"'}, {}, 412, "version-mismatch"),
        ({}, {"expected_refundable": 1}, 412, "refundable-amount-changed"),
        ({}, {"items": [{"reference": "nothing", "quantity": 1}]}, 422, "validation-failed"),
        ({"content-type": "text/plain"}, {}, 415, "unsupported-media-type"),
    ],
)
async def test_what_was_no_answer_is_not_kept(api: Api, headers: dict[str, str], body: Json, status: int, code: str) -> None:
    payment, key = await api.register(), uuid4().hex
    assert_problem(await api.requested(payment, key=key, headers=headers, **body), status, code)

    mended = await api.requested(payment, key=key)

    assert mended.status_code == 201
    assert "idempotent-replayed" not in mended.headers


async def test_a_forbidden_call_is_not_kept(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex

    assert_problem(await api.requested(payment, role="operator", sub="same", key=key), 403, "forbidden")
    assert (await api.requested(payment, role="wallet", sub="same", key=key)).status_code == 201


async def test_a_key_belongs_to_its_caller_and_its_payment(api: Api) -> None:
    one, other, key = await api.register(), await api.register(), uuid4().hex

    first = await api.requested(one, amount=1, key=key)
    elsewhere = await api.requested(other, amount=1, key=key)
    somebody = await api.requested(one, amount=1, key=key, sub="wallet-2")

    assert (first.status_code, elsewhere.status_code) == (201, 201)
    assert_problem(somebody, 409, "cancellation-open", cancellation_id=first.json()["id"])


async def test_a_stale_version_does_not_hide_the_kept_answer(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex
    first = await api.requested(payment, amount=1, key=key, headers={"if-match": '"1"'})

    again = await api.requested(payment, amount=1, key=key, headers={"if-match": '"1"'})

    assert (again.status_code, again.content) == (201, first.content)


async def test_a_client_reference_finds_its_cancellation_for_ever(api: Api) -> None:
    payment = await api.register()
    first = await api.requested(payment, amount=5, client_reference="mine-1")
    await api.worker.drain()
    kept = await api.rows()

    again = await api.requested(payment, amount=5, client_reference="mine-1")

    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, first.json()["id"], "completed")
    assert again.headers["location"] == first.headers["location"]
    assert {**await api.rows(), "kept_reply": 0} == {**kept, "kept_reply": 0}


@pytest.mark.parametrize("other", [{"amount": 6}, {"amount": 5, "reason": "duplicate"}, {}])
async def test_a_client_reference_with_other_content_conflicts(api: Api, other: Json) -> None:
    payment = await api.register()
    await api.requested(payment, amount=5, client_reference="mine-1")
    kept = await api.rows()

    response = await api.requested(payment, **{"reason": "changed_mind", **other}, client_reference="mine-1")

    assert_problem(response, 409, "client-reference-conflict")
    assert {**await api.rows(), "kept_reply": 0} == {**kept, "kept_reply": 0}


async def test_a_refused_client_reference_is_refused_the_same_again(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=40))
    first = assert_problem(await api.requested(payment, client_reference="mine-1"), 422, "policy-refused")

    again = assert_problem(await api.requested(payment, client_reference="mine-1"), 422, "policy-refused")

    assert {**again, "trace_id": ""} == {**first, "trace_id": ""}
    assert [record["type"] for record in await api.records(payment)].count("cancellation.refused") == 1


async def test_a_client_reference_is_its_payments_own(api: Api) -> None:
    answers = [await api.requested(await api.register(), client_reference="shared") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]


async def test_a_client_reference_asked_for_twice_at_once_makes_one(api: Api) -> None:
    payment = await api.register()

    answers = await asyncio.gather(*(api.requested(payment, amount=3, client_reference="once") for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.long
async def test_what_does_not_come_through_in_five_seconds_is_in_flight_only_where_its_key_is(api: Api) -> None:
    """Somebody holds the payment's row; who waited in vain may ask again under the same key."""
    payment, key = await api.register(), uuid4().hex
    async with api.owner.transaction():
        await api.owner.execute("select 1 from payment where reference = $1 for update", payment["reference"])

        first, other, second = await asyncio.gather(
            api.requested(payment, key=key), api.requested(payment), api.requested(payment, key=key)
        )

    assert_problem(first, 503, "unavailable")
    assert_problem(other, 503, "unavailable")
    assert_problem(second, 409, "idempotency-in-flight")
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in (first, other, second))
    late = await api.requested(payment, key=key)
    assert late.status_code == 201
    assert [record["type"] for record in await api.records(payment)].count("cancellation.requested") == 1


async def test_a_kept_answer_goes_after_thirty_days(api: Api) -> None:
    payment, key = await api.register(), uuid4().hex
    await api.requested(payment, key=key)
    await api.worker.drain()
    store = api.worker.runtime.store

    await store.sweep_replies(api.clock.now + timedelta(days=29))
    early = await api.requested(payment, key=key)
    while await store.sweep_replies(api.clock.now + timedelta(days=31)):
        pass

    assert early.headers["idempotent-replayed"] == "true"
    assert_problem(await api.requested(payment, key=key), 409, "invalid-state", state="refunded")


async def test_a_key_is_looked_up_before_a_rail_that_is_not_set_up_is_told(api: Api) -> None:
    payment = await api.register(completed_at=None)
    path = f"/v1/payments/{payment['id']}/modifications"
    stranger = {"source": "balance", "amount": 9_000, "provider": "nope", "provider_reference": "ok"}

    await api.post(path, {"amount": 9_500, "reason": "less"}, key="k-modified")
    again = await api.post(path, {"amount": 9_000, "reason": "less", "funding": [stranger]}, key="k-modified")
    new = await api.post(path, {"amount": 9_000, "reason": "less", "funding": [stranger]})

    assert_problem(again, 422, "idempotency-key-reused")
    assert [one["pointer"] for one in assert_problem(new, 422, "validation-failed")["errors"]] == ["/funding/0/provider"]
    assert (await api.payment(payment))["amount"] == 9_500
