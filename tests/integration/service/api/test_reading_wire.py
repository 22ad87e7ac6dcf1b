"""Bytes, types, addresses, queries and imports that are none: a promised no, and nothing stored."""

import json

import pytest

from tests.harness import Api, assert_problem, refused

SURROGATE = b'"\\ud800"'

RAW: list[tuple[bytes, str]] = [
    (b"{", "malformed-request"),
    (b"}", "malformed-request"),
    (b"\x00", "malformed-request"),
    (b"\xff\xfe", "malformed-request"),
    (b"\xef\xbb\xbf", "malformed-request"),
    (b"\xef\xbb\xbf\xef\xbb\xbf{}", "malformed-request"),
    (b'{"a":1,"a":2}', "malformed-request"),
    (b'{"amount":NaN}', "malformed-request"),
    (b'{"amount":Infinity}', "malformed-request"),
    (b'{"amount":' + b"9" * 5_000 + b"}", "malformed-request"),
    (b'{"reason":' + SURROGATE + b"}", "malformed-request"),
    (b'{"reason":"\\u0000"}', "validation-failed"),
    (b"[" * 100_000, "malformed-request"),
    (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "malformed-request"),
    (b"null", "validation-failed"),
    (b"[]", "validation-failed"),
    (b"1", "validation-failed"),
    (b'"{}"', "validation-failed"),
    (b'{"amount":1e400}', "validation-failed"),
    (b'{"' + b"x" * 100_000 + b'":1}', "validation-failed"),
    (b'{"note":"' + b"x" * 300_000 + b'"}', "body-too-large"),
    (b" " * 1_048_576, "body-too-large"),
]


@pytest.mark.parametrize(("raw", "code"), RAW, ids=[repr(raw[:24]) for raw, _ in RAW])
async def test_bytes_that_are_no_body(api: Api, raw: bytes, code: str) -> None:
    payment = await api.register(completed_at=None)
    base = f"/v1/payments/{payment['id']}"

    for path, key in (("/v1/payments", None), (f"{base}/cancellations", "k"), (f"{base}/fail", "k"), (f"{base}/fulfilment", "k")):
        # An object nested too deep is either no JSON that we read, or an unknown member.
        codes = {code, "validation-failed"} if raw.startswith(b'{"a":{') or b"1e400" in raw else {code}
        said = await refused(api, path, raw, key=key, codes=codes)
        assert len(json.dumps(said)) < 20_000


@pytest.mark.parametrize(
    "media",
    ["", "text/plain", "application/x-ndjson", "application/json; charset=latin-1", "application/jsonx", "multipart/form-data", "\u00e9"],
)
async def test_bodies_of_other_types(api: Api, media: str) -> None:
    payment = await api.register()
    before = await api.rows()

    for path in ("/v1/payments", f"/v1/payments/{payment['id']}/cancellations"):
        headers = [
            (b"authorization", f"Bearer {api.token('wallet')}".encode()),
            (b"content-type", media.encode()),
            (b"idempotency-key", b"k"),
        ]
        assert_problem(await api.http.post(path, content=b'{"reason":"duplicate"}', headers=headers), 415, "unsupported-media-type")
    assert await api.rows() == before


async def test_compressed_bodies_are_refused(api: Api) -> None:
    payment = await api.register()

    assert_problem(await api.requested(payment, headers={"content-encoding": "gzip"}), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "text",
    [
        *("x", "pay_", "pay_" + "0" * 31, "pay_" + "0" * 33, "pay_" + "G" * 32, "pay_" + "A" * 32, "can_" + "0" * 32, "0" * 32),
        *(
            "pay_00000000-0000-0000-0000-000000000000",
            "%00",
            "%FF",
            "pay_%2F",
            "..%2F..",
            "\uff10" * 36,
            "x" * 5_000,
            "%0a",
            "'; drop table payment; --",
        ),
    ],
)
async def test_ids_that_are_none(api: Api, text: str) -> None:
    paths = [f"/v1/payments/{text}", f"/v1/payments/{text}/eligibility", f"/v1/payments/{text}/records"]
    paths += [
        f"/v1/cancellations/{text[:0] + text.replace('can_', 'pay_')}",
        f"/v1/refunds/{text}",
        f"/v1/policies/{text}",
        f"/problems/{text}",
    ]

    for path in paths:
        response = await api.get(path)
        assert_problem(response, 404, "not-found")
    for path in (
        f"/v1/payments/{text}/cancellations",
        f"/v1/payments/{text}/complete",
        f"/v1/cancellations/{text.replace('can_', 'x')}/withdraw",
    ):
        assert_problem(await api.post(path, {"reason": "duplicate"}), 404, "not-found")


@pytest.mark.parametrize(
    "query",
    [
        *(
            "wallet_id=%00",
            "reference=%00",
            "order_reference=%00",
            "merchant_id=%ff",
            "state=lost",
            "state=",
            "limit=99999999999999999999",
        ),
        *(
            "created_from=yesterday",
            "cursor=%00",
            "%00=1",
            "a" * 3_000 + "=1",
            "&".join(f"a{n}=1" for n in range(60)),
            "limit",
            "=",
            "limit[]=1",
        ),
    ],
)
async def test_queries_that_are_none(api: Api, query: str) -> None:
    for path in ("/v1/payments", "/v1/cancellations", "/v1/refunds"):
        response = await api.http.get(f"{path}?{query}", headers={"authorization": f"Bearer {api.token('wallet')}"})
        assert_problem(response, 422, "validation-failed")


@pytest.mark.parametrize(
    "query",
    ["actor=%00", "type=payment.lost", "from=x", "to=x", "payment_id=x", "payment_id=" + "can_" + "0" * 32, "cursor=abc", "limit=0"],
)
async def test_searches_that_are_none(api: Api, query: str) -> None:
    assert_problem(await api.get(f"/v1/records?{query}", "auditor"), 422, "validation-failed")


@pytest.mark.parametrize("query", ["format=parquet", "format=xml", "format=", "from=x", "merchant_id=", "limit=1"])
async def test_exports_that_are_none(api: Api, query: str) -> None:
    assert_problem(await api.get(f"/v1/records/export?{query}", "auditor"), 422, "validation-failed")


@pytest.mark.parametrize(
    "query", ["amount=0", "amount=-1", "amount=x", "amount=1.5", "amount=1000000000000001", "channel=pigeon", "amount="]
)
async def test_questions_that_make_no_sense(api: Api, query: str) -> None:
    payment = await api.register()

    assert_problem(await api.get(f"/v1/payments/{payment['id']}/eligibility?{query}"), 422, "validation-failed")


async def test_of_a_payment_that_is_not_there_no_long_body_is_read(api: Api) -> None:
    body = json.dumps({f"m{number}": 1 for number in range(20_000)}).encode()

    for role in ("wallet", "merchant"):
        absent = await api.post(f"/v1/payments/pay_{'0' * 32}/cancellations", body, role=role)
        assert_problem(absent, 404, "not-found")
