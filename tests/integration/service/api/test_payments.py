"""What is told of a payment: registered, settled, failed, lowered, shipped, imported."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.harness import Api, Json, amounts, assert_problem, funding


async def test_a_payment_is_registered_with_what_the_wallet_left_out(api: Api) -> None:
    terms = api.terms(completed_at=None, metadata={"city": "Hangzhou"})

    response = await api.post("/v1/payments", terms, key=None)

    assert response.status_code == 201
    payment = response.json()
    assert response.headers["location"] == f"/v1/payments/{payment['id']}"
    assert response.headers["etag"] == '"1"'
    assert amounts(payment) == ("pending", 0, 0, 10_000)
    assert payment["fulfilment"] == "none"
    assert payment["category"] == "general"
    assert [(leg["source"], leg["amount"], leg["provider"]) for leg in payment["funding"]] == [("balance", 10_000, "sandbox")]
    assert (payment["policy_version"], payment["merchant_rules_version"]) == ("2026-11-a", None)
    assert (payment["disputed"], payment["frozen"], payment["failure"], payment["amount_charged_back"]) == (False, False, None, 0)
    assert (payment["open_cancellation"], payment["cancellations"], payment["metadata"]) == (None, [], {"city": "Hangzhou"})
    assert payment["authorised_at"] == payment["created_at"] == api.clock.ago()
    assert (await api.get(f"/v1/payments/{payment['id']}")).json() == payment


async def test_the_same_content_again_is_200_and_what_was_left_out_is_not_compared(api: Api) -> None:
    terms = api.terms(
        metadata={"a": "1"}, order_reference="o-1", items=[{"reference": "l 1", "name": "Tea", "quantity": 2, "amount": 10_000}]
    )
    first = await api.post("/v1/payments", terms, key=None)
    kept = await api.rows()

    again = await api.post("/v1/payments", terms, key=None)
    short = await api.post("/v1/payments", {n: terms[n] for n in ("reference", "wallet_id", "merchant_id", "amount", "currency")}, key=None)

    assert (again.status_code, short.status_code) == (200, 200)
    assert again.json() == short.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert await api.rows() == kept


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 9_999},
        {"currency": "JPY"},
        {"wallet_id": "wallet-2"},
        {"merchant_id": "shop-2"},
        {"order_reference": "o-2"},
        {"category": "travel"},
        {"completed_at": "2026-11-22T11:58:59Z"},
        {"metadata": {"b": "1"}},
        {"items": [{"reference": "l", "name": "Tea", "quantity": 1, "amount": 10_000}]},
        {"fulfilment": "preparing"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_other_content_under_a_known_reference_is_a_conflict(api: Api, other: Json) -> None:
    terms = api.terms()
    await api.post("/v1/payments", terms, key=None)
    kept = await api.rows()

    response = await api.post("/v1/payments", terms | other, key=None)

    assert_problem(response, 409, "payment-reference-conflict")
    assert await api.rows() == kept


async def test_times_are_compared_as_instants(api: Api) -> None:
    terms = api.terms(completed_at="2026-11-22T11:00:00Z")
    await api.post("/v1/payments", terms, key=None)

    assert (await api.post("/v1/payments", terms | {"completed_at": "2026-11-22T11:00:00.000+00:00"}, key=None)).status_code == 200


async def test_a_payment_completes_once(api: Api) -> None:
    payment = await api.register(completed_at=None)

    completed = await api.post(f"/v1/payments/{payment['id']}/complete", {"completed_at": api.clock.ago(), "provider_reference": "ok|c1"})
    again = await api.post(f"/v1/payments/{payment['id']}/complete")

    assert completed.status_code == 200
    assert (completed.json()["state"], completed.json()["version"], completed.headers["etag"]) == ("completed", 2, '"2"')
    assert completed.json()["funding"][0]["provider_reference"] == "ok|c1"
    said = assert_problem(again, 409, "invalid-state", state="completed")
    assert set(said["available_actions"]) == {"fulfilment", "request_cancellation"}


async def test_a_payment_that_fails_is_final_and_completes_its_cancellation(api: Api) -> None:
    payment = await api.register(completed_at=None)
    asked = (await api.requested(payment)).json()

    failed = await api.post(f"/v1/payments/{payment['id']}/fail", {"code": "network", "detail": "no line"})

    assert amounts(failed.json()) == ("failed", 0, 0, 10_000)
    assert failed.json()["failure"] == {
        "code": "network",
        "message": "The connection was lost before the payment was made.",
        "next_steps": [{"action": "try_again", "message": "Please try to pay again.", "contact": None}],
        "detail": "no line",
    }
    assert failed.json()["refundable_until"] is None
    assert (await api.cancellation(asked))["state"] == "completed"
    await api.worker.drain()
    assert await api.movements(payment) == []
    assert_problem(await api.requested(payment), 409, "invalid-state", state="failed", available_actions=[])


async def test_a_modification_gives_sources_and_items_anew(api: Api) -> None:
    many = await api.register(completed_at=None, funding=funding(("card", 9_000), ("coupon", 1_000)))
    lines = await api.register(completed_at=None, items=[{"reference": "a", "name": "A", "quantity": 1, "amount": 10_000}])

    without = await api.post(f"/v1/payments/{many['id']}/modifications", {"amount": 5_000, "reason": "less"})
    itemless = await api.post(f"/v1/payments/{lines['id']}/modifications", {"amount": 5_000, "reason": "less"})
    given = await api.post(
        f"/v1/payments/{many['id']}/modifications",
        {"amount": 5_000, "reason": "less", "funding": funding(("card", 4_000), ("coupon", 1_000))},
    )

    assert assert_problem(without, 422, "validation-failed")["errors"][0]["pointer"] == "/funding"
    assert assert_problem(itemless, 422, "validation-failed")["errors"][0]["pointer"] == "/items"
    assert [source["amount"] for source in given.json()["funding"]] == [4_000, 1_000]


async def test_deliveries_only_go_forward(api: Api) -> None:
    payment = await api.register()
    path = f"/v1/payments/{payment['id']}/fulfilment"

    shipped = await api.post(path, {"status": "shipped", "carrier": "sf", "tracking_number": "SF1"}, role="merchant")
    again = await api.post(path, {"status": "shipped", "at": api.clock.ago(hours=-0.01)})
    back = await api.post(path, {"status": "preparing"})
    delivered = await api.post(path, {"status": "delivered"})

    assert (shipped.json()["fulfilment"], shipped.json()["shipped_at"]) == ("shipped", api.clock.ago())
    assert shipped.json()["tracking_number"] == delivered.json()["tracking_number"] == "SF1"
    assert again.json()["shipped_at"] == shipped.json()["shipped_at"]
    assert_problem(back, 409, "invalid-state", state="completed")
    assert delivered.json()["delivered_at"] == api.clock.ago()


async def test_a_byte_order_mark_costs_neither_a_body_nor_the_first_line_of_an_import(api: Api) -> None:
    mark, terms = b"\xef\xbb\xbf", [api.terms() for _ in range(3)]
    body = mark + "\n".join(json.dumps(one) for one in terms[1:]).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 2):
            yield body[start : start + 2]

    single = await api.post("/v1/payments", mark + json.dumps(terms[0]).encode(), key=None)
    headers = {"authorization": f"Bearer {api.token('wallet')}", "content-type": "application/x-ndjson"}
    whole = await api.http.post("/v1/payments/import", content=body, headers=headers)
    pieces = await api.http.post("/v1/payments/import", content=in_pieces(), headers=headers)
    second = await api.http.post("/v1/payments/import", content=body.replace(b"\n", b"\n" + mark), headers=headers)

    assert single.status_code == 201
    assert (whole.json()["accepted"], whole.json()["rejected"]) == (2, 0)
    assert (pieces.json()["duplicates"], pieces.json()["rejected"]) == (2, 0)
    assert (second.json()["duplicates"], second.json()["rejected"]) == (1, 1)


@pytest.mark.parametrize("tail", [".1234567Z", ".123456789Z", ".123456999999+00:00", ".123456-00:00"])
async def test_times_of_other_clocks_are_cut_to_microseconds_and_equal_again(api: Api, tail: str) -> None:
    second = api.clock.ago(hours=1)[:19]
    terms = api.terms(completed_at=second + tail)

    made = await api.post("/v1/payments", terms, key=None)
    again = await api.post("/v1/payments", terms | {"completed_at": second + ".1234561Z"}, key=None)
    found = await api.get(f"/v1/payments?order_reference=none&created_from={second}.000000001Z")

    assert (made.status_code, made.json()["completed_at"]) == (201, second + ".123456Z")
    assert again.status_code == 200
    assert found.status_code == 200


async def test_a_currency_must_have_been_valid_when_the_payment_was_authorised(api: Api) -> None:
    def at(currency: str, moment: str | None) -> Json:
        return api.terms(currency=currency, authorised_at=moment, completed_at=None)

    good = [("BGN", "2025-12-31T10:00:00Z"), ("HRK", "2022-11-30T10:00:00Z"), ("ANG", "2025-03-31T10:00:00Z"), ("XCG", None)]
    for currency, moment in good:
        response = await api.post("/v1/payments", at(currency, moment), key=None)
        assert (response.status_code, response.json()["currency"]) == (201, currency)

    bad = [("BGN", None), ("BGN", "2026-02-01T00:00:00Z"), ("HRK", "2023-02-01T00:00:00Z"), ("ANG", "2025-04-01T00:00:00Z")]
    for currency, moment in [*bad, ("DEM", "2026-01-01T00:00:00Z")]:
        said = assert_problem(await api.post("/v1/payments", at(currency, moment), key=None), 422, "validation-failed")
        assert [error["pointer"] for error in said["errors"]] == ["/currency"]


async def test_a_file_that_is_imported_again_after_life_went_on_has_only_duplicates(api: Api) -> None:
    authorised = api.clock.ago(hours=1)
    items = [
        {"reference": "A", "name": "apples", "quantity": 2, "amount": 6_000},
        {"reference": "B", "name": "b", "quantity": 1, "amount": 4_000},
    ]
    terms = api.terms(completed_at=None, authorised_at=authorised, items=items, fulfilment="preparing", funding=funding(("card", 10_000)))
    payment = (await api.post("/v1/payments", terms, key=None)).json()
    lowered = [items[0] | {"name": "pears"}]
    steps: list[tuple[str, Json]] = [
        ("modifications", {"amount": 6_000, "reason": "sold out", "items": lowered, "funding": funding(("card", 6_000))}),
        ("complete", {"provider_reference": "cap-1"}),
        ("fulfilment", {"status": "shipped"}),
    ]

    for step, body in steps:
        assert (await api.post(f"/v1/payments/{payment['id']}/{step}", body)).status_code == 200
        assert (await api.post("/v1/payments", terms, key=None)).status_code == 200
    changed = await api.post("/v1/payments", terms | {"amount": 6_000, "items": lowered, "funding": funding(("card", 6_000))}, key=None)

    assert_problem(changed, 409, "payment-reference-conflict")


async def test_a_real_order_of_a_thousand_lines_is_registered_and_cancelled_by_them(api: Api) -> None:
    items = [
        {"reference": f"{n:05}", "name": f"article number {n} of a long order, as shops send them", "quantity": 2, "amount": 7}
        for n in range(1_114)
    ]
    payment = await api.register(items=items, amount=7 * 1_114)

    asked = [{"reference": item["reference"], "quantity": 1} for item in items]
    made = await api.requested(payment, items=asked)

    assert (made.status_code, made.json()["amount"], len(made.json()["items"])) == (201, 4 * 1_114, 1_114)


async def test_pieces_worth_nothing_are_cancelled_one_by_one(api: Api) -> None:
    items = [
        {"reference": "three", "name": "three for one cent", "quantity": 3, "amount": 1},
        {"reference": "gift", "name": "a gift", "quantity": 1, "amount": 0},
        {"reference": "rest", "name": "the rest", "quantity": 1, "amount": 9_999},
    ]
    payment = await api.register(items=items)
    wanted = ["three", "gift", "three", "three"]

    seen = []
    for reference in wanted:
        made = await api.requested(payment, items=[{"reference": reference, "quantity": 1}])
        assert made.status_code == 201, made.text
        await api.worker.drain()
        said = await api.cancellation(made.json())
        seen.append((said["amount"], said["state"]))
    over = await api.requested(payment, items=[{"reference": "three", "quantity": 1}])

    assert sorted(seen) == [(0, "completed"), (0, "completed"), (0, "completed"), (1, "completed")]
    assert amounts(await api.payment(payment)) == ("completed", 1, 0, 9_999)
    assert [one["amount"] for one in await api.movements(payment)] == [1]
    assert_problem(over, 422, "amount-exceeds-refundable")
    free = [one["type"] for one in await api.records(payment) if one["amount"] is None]
    assert free == ["cancellation.requested", "cancellation.completed"] * 3


async def test_a_repeated_client_reference_is_known_before_the_version(api: Api) -> None:
    payment = await api.register()
    seen = {"if-match": f'"{payment["version"]}"'}

    first = await api.requested(payment, client_reference="mine-1", headers=seen)
    again = await api.requested(payment, client_reference="mine-1", headers=seen)
    other = await api.requested(payment, client_reference="mine-1", amount=5, headers=seen)
    fresh = await api.requested(payment, client_reference="mine-2", headers=seen)

    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, first.json()["id"])
    assert_problem(other, 409, "client-reference-conflict")
    assert_problem(fresh, 412, "version-mismatch")


async def test_a_csv_export_begins_with_a_mark_where_excel_wants_one(api: Api) -> None:
    await api.register()

    plain = (await api.get("/v1/records/export?format=csv", "auditor")).content
    marked = (await api.get("/v1/records/export?format=csv&bom=true", "auditor")).content

    assert marked == b"\xef\xbb\xbf" + plain
    assert_problem(await api.get("/v1/records/export?bom=true", "auditor"), 422, "validation-failed")
