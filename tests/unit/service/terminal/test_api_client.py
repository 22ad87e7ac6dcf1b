"""The way to the service: what is asked again, what is an answer, and what ends the command."""

from datetime import timedelta

import httpx
import pytest

from service.terminal.api_client import ATTEMPTS_MAX, ApiClient, by_environment
from service.terminal.failure import UserError

URL = "http://fake"


def reach(answers: list[httpx.Response | Exception], pauses: list[float]) -> ApiClient:
    def answer(_: httpx.Request) -> httpx.Response:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    return ApiClient(URL, "t", transport=httpx.MockTransport(answer), pause=pause)


async def test_a_lost_or_postponed_answer_is_asked_for_again_under_the_same_key() -> None:
    pauses: list[float] = []
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("no"),
        httpx.Response(503, json={"code": "unavailable"}, headers={"retry-after": "2"}),
        httpx.Response(409, json={"code": "idempotency-in-flight"}),
        httpx.Response(201, json={"id": "x"}),
    ]

    async with reach(answers, pauses) as service:
        reply = await service.post("/v1/x", {}, key="k")

    assert (reply.status, reply.attempts, service.requests, service.repeated) == (201, 4, 4, 3)
    assert pauses == [0.1, 2.0, 0.4]


async def test_a_refusal_is_an_answer_and_not_asked_for_again() -> None:
    async with reach([httpx.Response(409, json={"code": "cancellation-open"})], []) as service:
        assert (await service.post("/v1/x", {}, key="k")).code == "cancellation-open"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_not_taken_ends_the_command(status: int) -> None:
    async with reach([httpx.Response(status, json={"code": "unauthenticated", "detail": "Who?"})], []) as service:
        with pytest.raises(UserError, match="--data"):
            await service.greet()


async def test_a_service_that_stays_away_is_given_up() -> None:
    pauses: list[float] = []
    async with reach([httpx.ConnectError("refused")] * ATTEMPTS_MAX, pauses) as service:
        with pytest.raises(UserError, match="cannot be reached"):
            await service.get("/v1/x")
    assert len(pauses) == ATTEMPTS_MAX - 1
    assert sum(pauses) > timedelta(seconds=30).total_seconds()


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://x:port"])
def test_what_is_no_address_is_told_at_once(url: str) -> None:
    with pytest.raises(UserError, match="no address"):
        ApiClient(url, "t")


@pytest.mark.parametrize(
    ("url", "far"),
    [("http://127.0.0.1:8000", False), ("http://localhost:8000", False), ("http://[::1]:8000", False), ("https://refunds.example", True)],
)
def test_a_proxy_stands_only_before_services_elsewhere(url: str, far: bool) -> None:
    assert by_environment(url) is far
