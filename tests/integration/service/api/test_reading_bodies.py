"""Whatever is sent, the answer is a promised one, and where it is no, nothing was stored."""

import json
from typing import Any

import pytest

from tests.harness import Api, Json, assert_problem, refused

WRONG_TYPES: list[Any] = [None, True, 1.5, "", [], {}, "1", -1, 10**30]

TEXTS = ["", " ", "a\u0000b", "a\nb", "\u202e" * 65, "x" * 10_000, "caf\u00e9", "\U0001f4b8", "a b"]

FAR = "9999-12-31T23:59:59Z"  # ahead of every clock, and yet a time that one may search by

NOT_NULL = ("reference", "wallet_id", "merchant_id", "amount", "currency")


@pytest.mark.parametrize("member", NOT_NULL)
async def test_required_members_are_required(api: Api, member: str) -> None:
    said = await refused(api, "/v1/payments", {k: v for k, v in api.terms().items() if k != member}, key=None)

    assert [error["pointer"] for error in said["errors"]] == [f"/{member}"]


@pytest.mark.parametrize("member", [*NOT_NULL, "category", "funding", "items", "earned", "fulfilment", "completed_at", "metadata"])
async def test_members_of_another_type_are_refused(api: Api, member: str) -> None:
    for value in WRONG_TYPES:
        optional = value is None and member not in (*NOT_NULL, "category", "fulfilment")
        empty = (member, value) in [("items", []), ("earned", []), ("metadata", {})]
        if optional or empty or (member in {"reference", "wallet_id", "merchant_id"} and value == "1"):
            continue
        said = await refused(api, "/v1/payments", api.terms() | {member: value}, key=None)
        assert said["errors"][0]["pointer"].startswith(f"/{member}"), (value, said)


@pytest.mark.parametrize("amount", [0, -1, -(10**15), 10**15 + 1, 2**63, 2**64, 10**300, 1.0, 1e3, "1", True])
async def test_amounts_out_of_bounds(api: Api, amount: object) -> None:
    payment = await api.register()
    pending = await api.register(completed_at=None)

    for path, body, key in (
        ("/v1/payments", api.terms() | {"amount": amount}, None),
        (f"/v1/payments/{payment['id']}/cancellations", {"reason": "duplicate", "amount": amount}, "new"),
        (f"/v1/payments/{pending['id']}/modifications", {"reason": "less", "amount": amount}, "new"),
        (f"/v1/payments/{payment['id']}/cancellations", {"reason": "duplicate", "expected_refundable": amount}, "new"),
    ):
        if "expected_refundable" in body and amount == 0 and type(amount) is int:
            continue  # nothing refundable is something that one may expect
        said = await refused(api, path, body, key=None if key is None else "k")
        assert said["errors"][0]["pointer"] in {"/amount", "/expected_refundable"}


@pytest.mark.parametrize("amount", [1, 10**15])
async def test_amounts_at_the_bounds(api: Api, amount: int) -> None:
    payment = await api.register(amount=amount)
    assert (await api.requested(payment)).status_code == 201
    await api.worker.drain()
    assert (await api.payment(payment))["amount_refunded"] == amount


@pytest.mark.parametrize("currency", ["", "cny", "CN", "CNYY", "XXX", "XAU", "ZZZ", "\uff23\uff2e\uff39", "CN\u0000", 156])
async def test_currencies_that_are_none(api: Api, currency: object) -> None:
    said = await refused(api, "/v1/payments", api.terms() | {"currency": currency}, key=None)

    assert said["errors"][0]["pointer"] == "/currency"


@pytest.mark.parametrize("currency", ["JPY", "CNY", "KWD"])
async def test_currencies_of_every_exponent(api: Api, currency: str) -> None:
    assert (await api.register(currency=currency))["currency"] == currency


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-11-22T12:00:00", "2026-11-22", "2026-11-22T12:00:00+08:00", "2026-11-22 12:00:00Z", "2026-11-22T12:00:00-00:01"),
        *("2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-22T24:00:01Z", "2026-11-22T12:00:60Z", "1969-12-31T23:59:59Z"),
        *("99999-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-22T12:00:00.Z", "now", "", 1_795_000_000, None),
        *("\uff12026-11-22T12:00:00Z", "2026-11-22T12:00:00Z\u0000", "2026-11-22T12:00:00Z ", FAR),
    ],
)
async def test_times_that_are_none(api: Api, moment: object) -> None:
    payment = await api.register(completed_at=None)

    for name in ("completed_at", "authorised_at", "shipped_at", "delivered_at"):
        if moment is not None:
            said = await refused(api, "/v1/payments", api.terms() | {name: moment}, key=None)
            assert {error["pointer"] for error in said["errors"]} & {f"/{name}", "/authorised_at"}
    if moment is not None:
        await refused(api, f"/v1/payments/{payment['id']}/complete", {"completed_at": moment})
        await refused(api, f"/v1/payments/{payment['id']}/fulfilment", {"status": "shipped", "at": moment})
        for name in ("created_from", "created_to") if moment != FAR else ():
            assert_problem(await api.get("/v1/payments", params={name: str(moment)}), 422, "validation-failed")


async def test_times_must_follow_each_other(api: Api) -> None:
    clock = api.clock
    for members in (
        {"completed_at": clock.ago(minutes=-6)},
        {"authorised_at": clock.ago(minutes=-6), "completed_at": None},
        {"authorised_at": clock.ago(), "completed_at": clock.ago(minutes=1)},
    ):
        await refused(api, "/v1/payments", api.terms(**members), key=None)
    assert (await api.register(completed_at=clock.ago(minutes=-4)))["state"] == "completed"
    pending = await api.register(completed_at=None, authorised_at=clock.ago(hours=1))
    await refused(api, f"/v1/payments/{pending['id']}/complete", {"completed_at": clock.ago(hours=2)})
    await refused(api, f"/v1/payments/{pending['id']}/complete", {"completed_at": clock.ago(minutes=-6)})


@pytest.mark.parametrize("text", TEXTS, ids=repr)
@pytest.mark.parametrize("member", ["reference", "wallet_id", "merchant_id"])
async def test_names_in_odd_letters_are_refused(api: Api, member: str, text: str) -> None:
    said = await refused(api, "/v1/payments", api.terms() | {member: text}, key=None)

    assert said["errors"][0]["pointer"] == f"/{member}"
    assert text.strip() == "" or text not in json.dumps(said, ensure_ascii=False)


async def test_texts_in_all_letters_come_back_as_they_went(api: Api) -> None:
    label = "caf\u00e9 \U0001f4b8 \u4e2d\u6587 e\u0301"
    text = f"{label} \u202e\u0301 \ufeff\u200d"

    payment = await api.register(
        order_reference=label, metadata={"k": text}, items=[{"reference": label, "name": text, "quantity": 1, "amount": 10_000}]
    )

    assert payment["order_reference"] == payment["items"][0]["reference"] == label
    assert payment["metadata"]["k"] == payment["items"][0]["name"] == text
    assert (await api.payment(payment))["items"] == payment["items"]
    asked = await api.requested(payment, items=[{"reference": label, "quantity": 1}], note=text)
    assert asked.json()["amount"] == 10_000


@pytest.mark.parametrize(
    "members",
    [
        {"funding": []},
        {"funding": [{"source": "balance", "amount": 9_999, "provider": "sandbox", "provider_reference": "ok"}]},
        {"funding": [{"source": "gold", "amount": 10_000, "provider": "sandbox", "provider_reference": "ok"}]},
        {"funding": [{"source": "card", "amount": 10_000, "provider": "nowhere", "provider_reference": "ok"}]},
        {"funding": [{"source": "card", "amount": 10_000, "provider": "SAND BOX", "provider_reference": "ok"}]},
        {"funding": [{"source": "card", "amount": 10_000, "provider": "sandbox"}]},
        {"funding": [{"source": "card", "amount": 0, "provider": "sandbox", "provider_reference": "ok"}] * 2},
        {"funding": [{"source": "card", "amount": 1_000, "provider": "sandbox", "provider_reference": "\u0000"}] * 10},
        {"funding": [{"source": "card", "amount": 500, "provider": "sandbox", "provider_reference": "ok"}] * 20},
        {"funding": [{"source": "card", "amount": 10_000, "provider": "sandbox", "provider_reference": "ok", "colour": "red"}]},
        {"items": [{"reference": "a", "name": "A", "quantity": 1, "amount": 9_999}]},
        {"items": [{"reference": "a", "name": "A", "quantity": 0, "amount": 10_000}]},
        {"items": [{"reference": "a", "name": "A", "quantity": 2**40, "amount": 10_000}]},
        {"items": [{"reference": "a", "name": "A", "quantity": 1, "amount": 5_000}] * 2},
        {"items": [{"reference": "x" * 65, "name": "A", "quantity": 1, "amount": 10_000}]},
        {"items": [{"reference": "a", "quantity": 1, "amount": 10_000}]},
        {"items": [{}] * 100_000},
        {"metadata": {str(n): "x" for n in range(21)}},
        {"metadata": {"k": "x" * 201}},
        {"metadata": {"k": 1}},
        {"metadata": {"": "x"}},
        {"metadata": {"k": "\u0000"}},
        {"earned": [{"kind": "love", "amount": 1, "provider": "sandbox", "provider_reference": "ok"}]},
        {"category": "food"},
        {"fulfilment": "lost"},
        {"colour": "red"},
        {"id": "pay_1"},
        {"state": "completed"},
    ],
    ids=lambda members: json.dumps(members)[:60],
)
async def test_registrations_that_make_no_sense(api: Api, members: Json) -> None:
    codes = {"validation-failed", "body-too-large"}
    said = await refused(api, "/v1/payments", api.terms() | members, key=None, codes=codes)
    if said["code"] == "validation-failed":
        assert said["errors"][0]["pointer"].startswith("/" + next(iter(members)))
        assert len(said["errors"]) <= 100


@pytest.mark.parametrize(
    "members",
    [
        {"reason": "boredom"},
        {"reason": None},
        {"reason": "other"},
        {"reason": "other", "note": "   "},
        {"note": "x" * 2_001},
        {"note": "a\u0000b"},
        {"channel": "pigeon"},
        {"channel": "system"},
        {"items": []},
        {"items": [{"reference": "a", "quantity": 1}], "amount": 1},
        {"items": [{"reference": "a", "quantity": 1}] * 2},
        {"items": [{"reference": "nothing", "quantity": 1}]},
        {"items": "all"},
        {"client_reference": "a b"},
        {"client_reference": "x" * 65},
        {"client_reference": ""},
        {"expected_refundable": -1},
        {"verification": {"method": "smile", "reference": "r"}},
        {"verification": {"method": "otp"}},
        {"override": {"justification": "x"}},
        {"override": {"justification": "", "ticket": "t"}},
        {"currency": "CNY"},
        {"colour": "red"},
    ],
    ids=lambda members: json.dumps(members)[:60],
)
async def test_requests_that_make_no_sense(api: Api, members: Json) -> None:
    payment = await api.register()

    said = await refused(api, f"/v1/payments/{payment['id']}/cancellations", {"reason": "duplicate"} | members)

    assert said["errors"]


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("complete", {"completed_at": 1}),
        ("complete", {"provider_reference": ""}),
        ("complete", {"colour": "red"}),
        ("fail", {}),
        ("fail", {"code": "bored"}),
        ("fail", {"code": "other", "detail": "\u0007"}),
        ("modifications", {"amount": 10_000, "reason": "same"}),
        ("modifications", {"amount": 1}),
        ("modifications", {"amount": 1, "reason": ""}),
        (
            "modifications",
            {"amount": 5, "reason": "x", "funding": [{"source": "card", "amount": 4, "provider": "sandbox", "provider_reference": "ok"}]},
        ),
        (
            "modifications",
            {"amount": 4, "reason": "x", "funding": [{"source": "card", "amount": 4, "provider": "nowhere", "provider_reference": "ok"}]},
        ),
        ("fulfilment", {}),
        ("fulfilment", {"status": "flying"}),
        ("fulfilment", {"status": "shipped", "tracking_number": "x" * 65}),
        ("fulfilment", {"status": "shipped", "carrier": ["sf"]}),
    ],
)
async def test_steps_that_make_no_sense(api: Api, step: str, body: Json) -> None:
    payment = await api.register(completed_at=None)

    assert (await refused(api, f"/v1/payments/{payment['id']}/{step}", body))["errors"]
