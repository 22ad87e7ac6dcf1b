"""Refusals that no route makes: of a method, of a path, of a host that is none."""

import re

from tests.harness import Api, assert_problem


async def test_a_host_that_is_none_is_no_reason_to_fail(api: Api) -> None:
    for host in ("[", "a b", "x" * 3_000, "http://[::1", "a@b:99999999"):
        headers = {"authorization": f"Bearer {api.token('wallet')}", "host": host}
        assert (await api.http.get("/v1/payments", headers=headers)).status_code == 200
        assert_problem(await api.http.get("/nothing", headers=headers), 404, "not-found")


async def test_a_file_takes_get_and_head(api: Api) -> None:
    response = await api.http.post("/static/page.css")

    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"


async def test_what_was_refused_for_its_method_is_no_operations_answer(api: Api) -> None:
    await api.http.delete("/v1/payments")
    await api.get("/v1/payments/import")
    await api.http.head("/healthz")

    metrics = (await api.http.get("/metrics")).text

    assert 'status="405"' not in metrics
    assert re.search(r'refundry_calls_total\{operation="healthz",status="200"\} [1-9]', metrics)
