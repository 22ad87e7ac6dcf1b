"""Imports that are none: bad lines are named, store nothing and hold up nobody."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.harness import SHOP, Api, Json, assert_problem

IMPORTS: list[tuple[Callable[[Json], bytes], str]] = [
    (lambda _: b"\xff", "malformed-request"),
    (lambda _: b"null", "validation-failed"),
    (lambda _: b"x" * 300_000, "body-too-large"),
    (lambda terms: json.dumps(terms | {"amount": 0}).encode(), "validation-failed"),
    (lambda terms: json.dumps(terms | {"note": "\u0000"}).encode(), "validation-failed"),
    (lambda terms: json.dumps(terms | {"completed_at": "9999-01-01T00:00:00Z"}).encode(), "validation-failed"),
]


async def test_bad_lines_of_an_import_are_named_and_store_nothing(api: Api) -> None:
    lines = [make(api.terms()) for make, _ in IMPORTS]
    before = await api.rows()

    said = (await api.post("/v1/payments/import", b"\n".join(lines), key=None, headers={"content-type": "application/x-ndjson"})).json()

    assert (said["accepted"], said["duplicates"], said["rejected"]) == (0, 0, len(lines))
    assert [(error["line"], error["code"]) for error in said["errors"]] == [(n, code) for n, (_, code) in enumerate(IMPORTS, 1)]
    assert await api.rows() == before


async def test_an_import_names_its_first_thousand_errors(api: Api) -> None:
    said = (await api.post("/v1/payments/import", b"{}\n" * 1_200, key=None, headers={"content-type": "application/x-ndjson"})).json()

    assert (said["rejected"], len(said["errors"])) == (1_200, 1_000)


@pytest.mark.slow
async def test_an_import_of_rubbish_lets_others_have_their_turn(api: Api) -> None:
    """However many lines one packet brings."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(others())
    said = await api.post("/v1/payments/import", b"?\n" * 60_000, key=None, headers={"content-type": "application/x-ndjson"})
    waiting.cancel()

    assert said.json()["rejected"] == 60_000
    assert turns > 50, "some tens of microseconds a line, and five milliseconds at a stretch"


async def test_an_import_of_json_is_refused(api: Api) -> None:
    assert_problem(await api.post("/v1/payments/import", api.terms(), key=None), 415, "unsupported-media-type")


async def test_an_import_takes_the_good_lines_and_names_the_bad(api: Api) -> None:
    good, known, other = api.terms(), api.terms(), api.terms()
    await api.post("/v1/payments", known, key=None)
    lines = [good, known, known | {"amount": 5}, {**other, "amount": "5"}, other]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\n{not json}\n"

    response = await api.post("/v1/payments/import", body, key=None, role="operator", headers={"content-type": "application/x-ndjson"})

    said = response.json()
    assert (response.status_code, said["accepted"], said["duplicates"], said["rejected"]) == (200, 2, 1, 3)
    assert [(error["line"], error["code"]) for error in said["errors"]] == [
        (3, "payment-reference-conflict"),
        (4, "validation-failed"),
        (7, "malformed-request"),
    ]
    details = [error["detail"] for error in said["errors"]]
    assert details[1:] == ["/amount: Must be an integer.", "Must be JSON. There is an error at line 1, column 2."]
    found = await api.get("/v1/payments", params={"reference": good["reference"]})
    assert [(one["merchant_id"], one["amount"]) for one in found.json()["data"]] == [(SHOP, 10_000)]


@pytest.mark.slow
async def test_of_two_lines_with_one_reference_the_first_in_the_file_is_kept(api: Api) -> None:
    pairs = [api.terms() for _ in range(100)]
    lines = [line for first in pairs for line in (first, {"reference": first["reference"]}, first | {"amount": 1}, first)]

    body = "\n".join(json.dumps(line) for line in lines).encode()
    said = (await api.post("/v1/payments/import", body, key=None, headers={"content-type": "application/x-ndjson"})).json()

    assert (said["accepted"], said["duplicates"], said["rejected"]) == (100, 100, 200)
    rejected = [(4 * n + 2, "validation-failed") for n in range(100)] + [(4 * n + 3, "payment-reference-conflict") for n in range(100)]
    assert [(error["line"], error["code"]) for error in said["errors"]] == sorted(rejected)
