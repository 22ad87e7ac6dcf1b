"""What HTTP itself asks of every answer: names, languages, conditions, methods."""

import re

import asyncpg
import pytest

from tests.harness import Api, assert_problem

JSON = {"content-type": "application/json"}


async def test_every_answer_names_its_request(api: Api) -> None:
    payment = await api.register()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    paths = ["/healthz", "/nothing", "/v1/payments", f"/v1/payments/{payment['id']}", "/docs", "/static/page.css"]

    for path in paths:
        new = (await api.get(path)).headers["request-id"]
        known = (await api.get(path, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})).headers["request-id"]
        assert re.fullmatch("[0-9a-f]{32}", new), path
        assert known == trace, path
    for refused in (
        await api.http.get("/v1/payments"),
        await api.http.delete("/v1/payments"),
        await api.get("/v1/records/export", "auditor"),
    ):
        assert re.fullmatch("[0-9a-f]{32}", refused.headers["request-id"]), refused.status_code


async def test_answers_in_words_say_their_language_and_others_do_not(api: Api) -> None:
    payment = await api.register()
    base = f"/v1/payments/{payment['id']}"

    for path in (base, f"{base}/eligibility", "/v1/cancellations", "/v1/payments/none", "/problems/not-found"):
        response = await api.get(path, headers={"accept-language": "zh-CN"})
        assert response.headers["content-language"] == "zh-CN", path
        assert "accept-language" in response.headers["vary"].lower().split(", "), path
    for path in ("/v1/meta", "/v1/policies", f"{base}/records"):
        assert "content-language" not in (await api.get(path)).headers, path
    asked = await api.requested(payment, headers={"accept-language": "zh-CN"})
    assert (asked.headers["content-language"], asked.headers["vary"]) == ("zh-CN", "Accept-Language")


@pytest.mark.parametrize(
    ("tag", "status"),
    [('"1"', 304), ('W/"1"', 304), ("*", 304), ('"7", "1"', 304), ('"2"', 200), ('W/"2"', 200), ("1", 200), ("", 200)],
)
async def test_what_has_not_changed_is_not_sent_again(api: Api, tag: str, status: int) -> None:
    payment = await api.register()

    response = await api.get(f"/v1/payments/{payment['id']}", headers={"if-none-match": tag})

    assert (response.status_code, response.headers["etag"]) == (status, '"1"')
    assert bool(response.content) is (status == 200)
    assert ("content-type" in response.headers) is (status == 200)


async def test_a_cancellation_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    cancellation = (await api.requested(await api.register(completed_at=api.clock.ago(hours=1)))).json()
    path = f"/v1/cancellations/{cancellation['id']}"

    assert (await api.get(path, headers={"if-none-match": '"1"'})).status_code == 304
    await api.post(f"{path}/withdraw")
    assert (await api.get(path, headers={"if-none-match": '"1"'})).status_code == 200


async def test_a_coding_or_a_type_that_is_not_taken_is_named(api: Api) -> None:
    coded = await api.post("/v1/payments", b"{}", key=None, headers={"content-encoding": "gzip"})
    typed = await api.post("/v1/payments", b"{}", key=None, headers={"content-type": "text/plain"})

    assert_problem(coded, 415, "unsupported-media-type")
    assert coded.headers["accept-encoding"] == "identity"
    assert_problem(typed, 415, "unsupported-media-type")
    assert typed.headers["accept"] == "application/json"
    assert [one["pointer"] for one in coded.json()["errors"]] == ["/headers/content-encoding"]
    assert [one["pointer"] for one in typed.json()["errors"]] == ["/headers/content-type"]


async def test_the_import_is_no_payment(api: Api) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        for headers in ({}, _token(api), _token(api, "operator")):
            response = await api.http.request(method, "/v1/payments/import", headers=headers)
            assert (response.status_code, response.headers["allow"]) == (405, "POST"), method
    assert_problem(await api.get("/v1/payments/importing"), 404, "not-found")
    assert_problem(await api.http.get("/v1/payments/importing"), 401, "unauthenticated")


@pytest.mark.slow
async def test_what_has_no_token_minds_no_parameter_of_a_prober_or_a_rail(api: Api) -> None:
    for path in ("/healthz?probe=1", "/docs?x=1", "/problems?x=1", "/openapi.json?v=2"):
        assert (await api.http.get(path)).status_code == 200, path
    assert_problem(await api.http.get("/problems/nope?x=1"), 404, "not-found")
    assert_problem(await api.http.post("/v1/providers/nope/notifications?x=1", content=b"{}"), 404, "not-found")
    assert_problem(await api.http.post("/v1/providers/sandbox/notifications?x=1", content=b"{}", headers=JSON), 401, "unauthenticated")


async def test_of_an_import_the_type_is_told_before_its_parameters(api: Api) -> None:
    typed = await api.http.post("/v1/payments/import?x=1", content=b"{}", headers=_token(api) | {"content-type": "text/plain"})
    asked = await api.http.post("/v1/payments/import?x=1", content=b"{}", headers=_token(api) | {"content-type": "application/x-ndjson"})

    assert_problem(typed, 415, "unsupported-media-type")
    assert_problem(asked, 422, "validation-failed")


async def test_head_is_get_without_the_body(api: Api) -> None:
    payment = await api.register()

    for path in ("/healthz", f"/v1/payments/{payment['id']}", "/docs", "/openapi.json"):
        got, head = [await api.http.request(method, path, headers=_token(api)) for method in ("GET", "HEAD")]
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


async def test_head_of_an_export_does_not_do_the_work(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = asyncpg.Connection.copy_from_query

    def counted(connection: asyncpg.Connection, query: str, *rest: object, **more: object) -> object:
        asked.append(query)
        return real(connection, query, *rest, **more)

    monkeypatch.setattr(asyncpg.Connection, "copy_from_query", counted)
    head = await api.http.head("/v1/records/export?format=csv", headers=_token(api, "auditor"))
    read = len(asked)
    got = await api.http.get("/v1/records/export?format=csv", headers=_token(api, "auditor"))

    assert (head.status_code, head.content, got.status_code) == (200, b"", 200)
    assert "content-length" not in head.headers
    assert head.headers["content-disposition"] == got.headers["content-disposition"] == 'attachment; filename="records.csv"'
    assert (read, len(asked) > 0) == (0, True)


def _token(api: Api, role: str = "wallet") -> dict[str, str]:
    return {"authorization": f"Bearer {api.token(role)}"}
