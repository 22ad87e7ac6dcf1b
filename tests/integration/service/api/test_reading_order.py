"""A request that is wrong in several ways hears of the first, in the promised order."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from uuid import uuid4

import pytest

from tests.harness import Api, Json, assert_problem

NOBODY = "pay_" + "0" * 32


@dataclass
class Wrong:
    """A request for cancellation in the making, which each fault makes worse."""

    payment: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=lambda: {"reason": "changed_mind"})
    written: Callable[[dict[str, Any]], bytes] = lambda body: json.dumps(body).encode()
    padding: int = 0

    async def send(self, api: Api) -> Any:
        content = self.written(self.body) + b" " * self.padding
        return await api.http.post(f"/v1/payments/{self.payment}/cancellations", content=content, headers=self.headers)


def no_token(wrong: Wrong) -> None:
    wrong.headers.pop("authorization")


def too_large(wrong: Wrong) -> None:
    wrong.padding = 256 * 1024


def other_type(wrong: Wrong) -> None:
    wrong.headers["content-type"] = "text/plain"


def no_json(wrong: Wrong) -> None:
    wrong.written = lambda body: json.dumps(body).encode() + b"}"


def no_key(wrong: Wrong) -> None:
    wrong.headers.pop("idempotency-key")


def unknown_member(wrong: Wrong) -> None:
    wrong.body["colour"] = "red"


def not_there(wrong: Wrong) -> None:
    wrong.payment = NOBODY


def stale(wrong: Wrong) -> None:
    wrong.headers["if-match"] = '"77"'


def surprised(wrong: Wrong) -> None:
    wrong.body["expected_refundable"] = 1


FORM: list[tuple[int, str, Callable[[Wrong], None] | None]] = [
    (401, "unauthenticated", no_token),
    (403, "forbidden", None),  # another role's token, put in by the test
    (404, "not-found", not_there),
    (413, "body-too-large", too_large),
    (415, "unsupported-media-type", other_type),
    (400, "malformed-request", no_json),
    (400, "idempotency-key-missing", no_key),
    (422, "validation-failed", unknown_member),
    (422, "idempotency-key-reused", None),  # a key that was used before, put in by the test
    (412, "version-mismatch", stale),
    (412, "refundable-amount-changed", surprised),
]
CODES = [code for _, code, _ in FORM]


async def _request(api: Api, codes: set[str]) -> Any:
    payment, used = await api.register(), uuid4().hex
    if "idempotency-key-reused" in codes:
        refused = await api.requested(payment, "duplicate", amount=99_999, key=used)
        assert refused.status_code == 422
    role = "auditor" if "forbidden" in codes else "wallet"
    key = used if "idempotency-key-reused" in codes else uuid4().hex
    headers = {"authorization": f"Bearer {api.token(role)}", "content-type": "application/json", "idempotency-key": key}
    wrong = Wrong(payment["id"], headers)
    for _, code, worsen in FORM:
        if code in codes and worsen is not None:
            worsen(wrong)
    return await wrong.send(api)


# A key cannot be missing and used before.
PAIRS = [pair for pair in combinations(CODES, 2) if pair != ("idempotency-key-missing", "idempotency-key-reused")]


@pytest.mark.parametrize(("earlier", "later"), PAIRS)
async def test_of_two_faults_the_earlier_is_told(api: Api, earlier: str, later: str) -> None:
    before = await api.rows()

    response = await _request(api, {earlier, later})

    assert_problem(response, next(status for status, code, _ in FORM if code == earlier), earlier)
    after = await api.rows()
    assert after["cancellation"] == before["cancellation"]
    assert after["job"] == before["job"]


async def test_of_all_faults_at_once_the_first_is_told(api: Api) -> None:
    everything = set(CODES)
    for status, code, _ in FORM[:6]:
        assert_problem(await _request(api, everything), status, code)
        everything.remove(code)


Ready = Callable[[Api], Awaitable[Json]]


async def refunded(api: Api) -> Json:
    payment = await api.register()
    assert (await api.requested(payment)).status_code == 201
    await api.worker.drain()
    return payment


async def cancelled(api: Api) -> Json:
    payment = await api.register(completed_at=None)
    assert (await api.requested(payment)).status_code == 201
    await api.worker.drain()
    return payment


async def failed(api: Api) -> Json:
    payment = await api.register(completed_at=None)
    await api.post(f"/v1/payments/{payment['id']}/fail", {"code": "other"})
    return payment


async def open_one(api: Api) -> Json:
    payment = await api.register(completed_at=api.clock.ago(hours=2))
    assert (await api.requested(payment)).json()["state"] == "awaiting_merchant"
    return payment


async def disputed(api: Api, payment: Json | None = None) -> Json:
    """Disputes have no call yet; the row is what a decision sees."""
    payment = payment or await api.register()
    await api.owner.execute("update payment set disputes_open = 1 where reference = $1", payment["reference"])
    return payment


async def disputed_and_open(api: Api) -> Json:
    return await disputed(api, await open_one(api))


async def expired(api: Api) -> Json:
    return await api.register(completed_at=api.clock.ago(days=100))


async def pending(api: Api) -> Json:
    return await api.register(completed_at=None)


async def pending_and_expired(api: Api) -> Json:
    return await api.register(completed_at=None, authorised_at=api.clock.ago(days=8))


STALE = {"if-match": '"77"'}
WRONG = {"expected_refundable": 3}
PART, TOO_MUCH = {"amount": 1}, {"amount": 10_001}


@pytest.mark.parametrize(
    ("ready", "headers", "body", "status", "code"),
    [
        (refunded, STALE, {}, 412, "version-mismatch"),
        (refunded, {}, WRONG, 409, "invalid-state"),
        (cancelled, {}, PART | WRONG, 409, "invalid-state"),
        (failed, {}, TOO_MUCH | WRONG, 409, "invalid-state"),
        (open_one, STALE, {}, 412, "version-mismatch"),
        (open_one, {}, WRONG, 409, "cancellation-open"),
        (disputed_and_open, {}, {}, 409, "cancellation-open"),
        (disputed, STALE, {}, 412, "version-mismatch"),
        (disputed, {}, WRONG, 409, "payment-disputed"),
        (disputed, {}, TOO_MUCH, 409, "payment-disputed"),
        (pending, {}, WRONG | PART, 412, "refundable-amount-changed"),
        (pending, {}, WRONG | TOO_MUCH, 412, "refundable-amount-changed"),
        (expired, {}, WRONG, 412, "refundable-amount-changed"),
        (expired, {}, TOO_MUCH, 422, "amount-exceeds-refundable"),
        (pending_and_expired, {}, PART, 422, "partial-not-supported"),
        (pending_and_expired, {}, TOO_MUCH, 422, "amount-exceeds-refundable"),
        (pending_and_expired, {}, {}, 422, "policy-refused"),
        (expired, {}, {}, 422, "policy-refused"),
    ],
)
async def test_of_two_refusals_the_earlier_is_told(
    api: Api, *, ready: Ready, headers: dict[str, str], body: Json, status: int, code: str
) -> None:
    payment = await ready(api)
    before = await api.payment(payment)

    assert_problem(await api.requested(payment, headers=headers, **body), status, code)

    assert (await api.payment(payment))["amount_reserved"] == before["amount_reserved"]


async def test_who_may_not_call_learns_nothing_of_the_form(api: Api) -> None:
    for role in ("auditor", "operator"):
        assert_problem(await api.post(f"/v1/payments/{NOBODY}/cancellations", b"{" * 300_000, role=role, key=None), 403, "forbidden")


async def test_reads_look_for_the_resource_before_the_query(api: Api) -> None:
    for path in (f"/v1/payments/{NOBODY}", f"/v1/payments/{NOBODY}/eligibility", f"/v1/payments/{NOBODY}/records"):
        assert_problem(await api.get(path + "?colour=red"), 404, "not-found")
    for path in ("/v1/cancellations/can_" + "0" * 32, "/v1/refunds/rfd_" + "0" * 32, "/v1/policies/none"):
        assert_problem(await api.get(path + "?colour=red"), 404, "not-found")


async def test_somebody_elses_payment_is_said_before_the_body_is_read(api: Api) -> None:
    payment = await api.register(merchant_id="shop-2")

    assert_problem(await api.post(f"/v1/payments/{payment['id']}/cancellations", b"{", role="merchant", key=None), 404, "not-found")
