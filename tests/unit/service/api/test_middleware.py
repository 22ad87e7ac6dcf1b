"""Around every request: also where the application fails, the answer names the request."""

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.api.middleware import ObserveRequests


async def fail(_: Scope, __: Receive, ___: Send) -> None:
    raise ZeroDivisionError


async def test_a_fault_of_ours_is_a_bare_500_that_names_its_request() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    transport = httpx.ASGITransport(ObserveRequests(fail), raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        response = await http.get("/", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})

    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert response.headers["request-id"] == trace


async def test_the_fault_goes_on_to_the_server() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ObserveRequests(fail)), base_url="http://test") as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/")
