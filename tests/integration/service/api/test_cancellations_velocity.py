"""Velocity limits over REST: an agent who has asked for enough within a day waits, and a colleague asks instead."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.database import Cluster
from tests.harness import Api, Json, assert_problem, running
from tests.rails import RailProcess
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.store import Store

LIMITS = {"requests_per_day": 4, "amount_per_day": {"CNY": 25_000}, "refunds_to_wallet_per_day": 2}


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own, with limits in force."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("velocity"), rail.url) as made:
        shown = (await made.get("/v1/policies/2026-11-a")).json()["policy"]
        body = {**shown, "version": "limited", "effective_from": made.clock.ago(hours=6), "agent_limits": LIMITS}
        assert (await made.post("/v1/policies", body, role="operator")).status_code == 201
        yield made


def somebody() -> str:
    return f"agent-{uuid4().hex[:8]}"


async def payment_of(api: Api, **members: Any) -> Json:
    return await api.register(**{"wallet_id": f"w-{uuid4().hex}", "amount": 100, **members})


async def ask(api: Api, sub: str, *, reason: str = "duplicate", role: str = "agent", **members: Any) -> httpx.Response:
    call = {name: members.pop(name) for name in ("key", "client_reference") if name in members}
    payment = members.pop("payment", None) or await payment_of(api, **members)
    return await api.requested(payment, reason, role=role, sub=sub, channel="hotline", **call)


async def is_asked(api: Api, sub: str, **members: Any) -> Json:
    response = await ask(api, sub, **members)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def is_too_much(api: Api, sub: str, limit: str, **members: Any) -> httpx.Response:
    payment = await payment_of(api, **members)
    before = await api.rows()
    response = await ask(api, sub, payment=payment)
    said = assert_problem(response, 429, "rate-limited", limit=limit)
    assert "supervisor" in said["detail"]
    assert await api.rows() == before  # neither recorded nor kept
    return response


@pytest.mark.slow
async def test_so_many_requests_a_day(api: Api) -> None:
    agent = somebody()
    for number in range(4):
        await is_asked(api, agent, role="supervisor" if number % 2 else "agent")

    response = await is_too_much(api, agent, "requests_per_day")

    assert response.headers["retry-after"] == "86400"
    chinese = await api.requested(
        await payment_of(api), "duplicate", role="agent", sub=agent, channel="hotline", headers={"accept-language": "zh-CN"}
    )
    assert "同事" in chinese.json()["detail"]
    await is_asked(api, somebody())


async def test_so_much_money_a_day_in_each_currency(api: Api) -> None:
    agent = somebody()
    await is_asked(api, agent, amount=20_000)

    await is_too_much(api, agent, "amount_per_day", amount=5_001)
    await is_asked(api, agent, amount=1_000_000, currency="JPY")
    await is_asked(api, agent, amount=5_000)
    await is_too_much(api, agent, "amount_per_day", amount=1)
    await is_too_much(api, somebody(), "amount_per_day", amount=25_001)


async def test_so_many_refunds_to_one_wallet_a_day(api: Api) -> None:
    agent, wallet = somebody(), f"w-{uuid4().hex}"
    for _ in range(2):
        await is_asked(api, agent, wallet_id=wallet)

    await is_too_much(api, agent, "refunds_to_wallet_per_day", wallet_id=wallet)
    await is_asked(api, agent)
    await is_asked(api, somebody(), wallet_id=wallet)


async def test_what_is_a_day_old_counts_no_more(api: Api) -> None:
    agent = somebody()
    await is_asked(api, agent)
    api.clock.now += timedelta(hours=1)
    for _ in range(3):
        await is_asked(api, agent)

    api.clock.now += timedelta(hours=23) - timedelta(microseconds=1)
    assert (await is_too_much(api, agent, "requests_per_day")).headers["retry-after"] == "1"
    api.clock.now += timedelta(microseconds=1)

    await is_asked(api, agent)
    assert (await is_too_much(api, agent, "requests_per_day")).headers["retry-after"] == "3600"


async def test_the_same_request_again_is_answered_as_before(api: Api) -> None:
    agent, payment = somebody(), await payment_of(api)
    first = await ask(api, agent, payment=payment, key="once", client_reference="mine")
    for _ in range(3):
        await is_asked(api, agent)

    replayed = await ask(api, agent, payment=payment, key="once", client_reference="mine")
    repeated = await ask(api, agent, payment=payment, client_reference="mine")
    refused = await payment_of(api)
    assert (await ask(api, agent, payment=refused, key="later")).status_code == 429
    api.clock.now += timedelta(days=1)

    assert (replayed.status_code, replayed.content) == (201, first.content)
    assert (repeated.status_code, repeated.json()["id"]) == (200, first.json()["id"])
    assert (await ask(api, agent, payment=refused, key="later")).status_code == 201


async def test_what_policy_refused_counts_as_a_request_only(api: Api) -> None:
    agent, wallet = somebody(), f"w-{uuid4().hex}"
    for _ in range(2):
        old = await payment_of(api, amount=25_000, wallet_id=wallet, completed_at=api.clock.ago(days=400))
        assert_problem(await ask(api, agent, payment=old), 422, "policy-refused", refusal="window-closed")

    await is_asked(api, agent, amount=24_900, wallet_id=wallet)
    await is_asked(api, agent, amount=100, wallet_id=wallet)

    await is_too_much(api, agent, "requests_per_day")


async def test_a_wallet_and_a_merchant_are_never_bound(api: Api) -> None:
    wallet = f"w-{uuid4().hex}"
    for _ in range(6):
        payment = await payment_of(api, wallet_id=wallet, amount=100_000)
        assert (await api.requested(payment, "duplicate", sub="agent-x")).status_code == 201
        payment = await payment_of(api, wallet_id=wallet, amount=100_000)
        assert (await api.requested(payment, role="merchant", sub="agent-x")).status_code == 201
    await is_asked(api, "agent-x", wallet_id=wallet)


async def test_somebody_who_only_looks_is_not_bound(api: Api) -> None:
    agent = somebody()
    for _ in range(4):
        await is_asked(api, agent)
    payment = await payment_of(api)

    assert (await api.get(f"/v1/payments/{payment['id']}/eligibility", "agent")).status_code == 200


async def test_the_facts_are_asked_for_only_where_somebody_is_bound(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    usual = Store.agent_requests

    async def counted(self: Store, wanted: AgentRequestsQuery, payment: Any) -> Any:
        asked.append(wanted.sub)
        return await usual(self, wanted, payment)

    monkeypatch.setattr(Store, "agent_requests", counted)
    agent = somebody()
    await api.requested(await payment_of(api), "duplicate")
    await api.requested(await payment_of(api), role="merchant")
    assert asked == []

    await is_asked(api, agent)
    assert asked == [agent]


async def test_the_limits_in_force_bind_whatever_policy_the_payment_has(api: Api) -> None:
    agent = somebody()
    older = {"completed_at": api.clock.ago(days=60), "authorised_at": api.clock.ago(days=60)}
    for _ in range(4):
        await is_asked(api, agent, **older)

    await is_too_much(api, agent, "requests_per_day", **older)


async def test_what_is_foreseen_for_an_agent_is_what_the_limits_leave(api: Api) -> None:
    agent = somebody()
    for _ in range(4):
        await is_asked(api, agent)
    payment = await payment_of(api)
    headers = {"authorization": f"Bearer {api.token('agent', agent)}"}
    own, customers = [
        (await api.http.get(f"/v1/payments/{payment['id']}/eligibility?reason=duplicate{more}", headers=headers)).json()
        for more in ("", "&as=customer")
    ]

    assert (own["allowed"], own["refusal"], customers["allowed"]) == (False, "rate-limited", True)


async def test_requests_at_once_pass_a_limit_by_few_at_most(api: Api) -> None:
    """It is no guard of money: two at once do not see each other. Afterwards the limit holds."""
    agent = somebody()

    answers = await asyncio.gather(*(ask(api, agent) for _ in range(8)))

    assert {answer.status_code for answer in answers} <= {201, 429}
    assert sum(answer.status_code == 201 for answer in answers) >= 4
    await is_too_much(api, agent, "requests_per_day")
