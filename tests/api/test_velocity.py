"""Velocity limits over REST: an agent who has asked for enough within a day waits, and a colleague asks instead."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.world import Json, World, assert_problem, running
from tests.database import Cluster
from tests.sandbox.conftest import RailProcess
from workflows.storage.agent_requests import AgentRequestsQuery
from workflows.storage.store import Store

LIMITS = {"requests_per_day": 4, "amount_per_day": {"CNY": 25_000}, "refunds_to_wallet_per_day": 2}


@pytest.fixture(scope="module")
async def world(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A service of its own, with limits in force."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("velocity"), rail.url) as made:
        shown = (await made.get("/v1/policies/2026-11-a")).json()["policy"]
        body = {**shown, "version": "limited", "effective_from": made.clock.ago(hours=6), "agent_limits": LIMITS}
        assert (await made.post("/v1/policies", body, role="operator")).status_code == 201
        yield made


def somebody() -> str:
    return f"agent-{uuid4().hex[:8]}"


async def payment_of(world: World, **members: Any) -> Json:
    return await world.register(**{"wallet_id": f"w-{uuid4().hex}", "amount": 100, **members})


async def ask(world: World, sub: str, *, reason: str = "duplicate", role: str = "agent", **members: Any) -> httpx.Response:
    call = {name: members.pop(name) for name in ("key", "client_reference") if name in members}
    payment = members.pop("payment", None) or await payment_of(world, **members)
    return await world.requested(payment, reason, role=role, sub=sub, channel="hotline", **call)


async def is_asked(world: World, sub: str, **members: Any) -> Json:
    response = await ask(world, sub, **members)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def is_too_much(world: World, sub: str, limit: str, **members: Any) -> httpx.Response:
    payment = await payment_of(world, **members)
    before = await world.rows()
    response = await ask(world, sub, payment=payment)
    said = assert_problem(response, 429, "rate-limited", limit=limit)
    assert "supervisor" in said["detail"]
    assert await world.rows() == before  # neither recorded nor kept
    return response


async def test_so_many_requests_a_day(world: World) -> None:
    agent = somebody()
    for number in range(4):
        await is_asked(world, agent, role="supervisor" if number % 2 else "agent")

    response = await is_too_much(world, agent, "requests_per_day")

    assert response.headers["retry-after"] == "86400"
    chinese = await world.requested(
        await payment_of(world), "duplicate", role="agent", sub=agent, channel="hotline", headers={"accept-language": "zh-CN"}
    )
    assert "同事" in chinese.json()["detail"]
    await is_asked(world, somebody())


async def test_so_much_money_a_day_in_each_currency(world: World) -> None:
    agent = somebody()
    await is_asked(world, agent, amount=20_000)

    await is_too_much(world, agent, "amount_per_day", amount=5_001)
    await is_asked(world, agent, amount=1_000_000, currency="JPY")
    await is_asked(world, agent, amount=5_000)
    await is_too_much(world, agent, "amount_per_day", amount=1)
    await is_too_much(world, somebody(), "amount_per_day", amount=25_001)


async def test_so_many_refunds_to_one_wallet_a_day(world: World) -> None:
    agent, wallet = somebody(), f"w-{uuid4().hex}"
    for _ in range(2):
        await is_asked(world, agent, wallet_id=wallet)

    await is_too_much(world, agent, "refunds_to_wallet_per_day", wallet_id=wallet)
    await is_asked(world, agent)
    await is_asked(world, somebody(), wallet_id=wallet)


async def test_what_is_a_day_old_counts_no_more(world: World) -> None:
    agent = somebody()
    await is_asked(world, agent)
    world.clock.now += timedelta(hours=1)
    for _ in range(3):
        await is_asked(world, agent)

    world.clock.now += timedelta(hours=23) - timedelta(microseconds=1)
    assert (await is_too_much(world, agent, "requests_per_day")).headers["retry-after"] == "1"
    world.clock.now += timedelta(microseconds=1)

    await is_asked(world, agent)
    assert (await is_too_much(world, agent, "requests_per_day")).headers["retry-after"] == "3600"


async def test_the_same_request_again_is_answered_as_before(world: World) -> None:
    agent, payment = somebody(), await payment_of(world)
    first = await ask(world, agent, payment=payment, key="once", client_reference="mine")
    for _ in range(3):
        await is_asked(world, agent)

    replayed = await ask(world, agent, payment=payment, key="once", client_reference="mine")
    repeated = await ask(world, agent, payment=payment, client_reference="mine")
    refused = await payment_of(world)
    assert (await ask(world, agent, payment=refused, key="later")).status_code == 429
    world.clock.now += timedelta(days=1)

    assert (replayed.status_code, replayed.content) == (201, first.content)
    assert (repeated.status_code, repeated.json()["id"]) == (200, first.json()["id"])
    assert (await ask(world, agent, payment=refused, key="later")).status_code == 201


async def test_what_policy_refused_counts_as_a_request_only(world: World) -> None:
    agent, wallet = somebody(), f"w-{uuid4().hex}"
    for _ in range(2):
        old = await payment_of(world, amount=25_000, wallet_id=wallet, completed_at=world.clock.ago(days=400))
        assert_problem(await ask(world, agent, payment=old), 422, "policy-refused", refusal="window-closed")

    await is_asked(world, agent, amount=24_900, wallet_id=wallet)
    await is_asked(world, agent, amount=100, wallet_id=wallet)

    await is_too_much(world, agent, "requests_per_day")


async def test_a_wallet_and_a_merchant_are_never_bound(world: World) -> None:
    wallet = f"w-{uuid4().hex}"
    for _ in range(6):
        payment = await payment_of(world, wallet_id=wallet, amount=100_000)
        assert (await world.requested(payment, "duplicate", sub="agent-x")).status_code == 201
        payment = await payment_of(world, wallet_id=wallet, amount=100_000)
        assert (await world.requested(payment, role="merchant", sub="agent-x")).status_code == 201
    await is_asked(world, "agent-x", wallet_id=wallet)


async def test_somebody_who_only_looks_is_not_bound(world: World) -> None:
    agent = somebody()
    for _ in range(4):
        await is_asked(world, agent)
    payment = await payment_of(world)

    assert (await world.get(f"/v1/payments/{payment['id']}/eligibility", "agent")).status_code == 200


async def test_the_facts_are_asked_for_only_where_somebody_is_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    usual = Store.agent_requests

    async def counted(self: Store, wanted: AgentRequestsQuery, payment: Any) -> Any:
        asked.append(wanted.sub)
        return await usual(self, wanted, payment)

    monkeypatch.setattr(Store, "agent_requests", counted)
    agent = somebody()
    await world.requested(await payment_of(world), "duplicate")
    await world.requested(await payment_of(world), role="merchant")
    assert asked == []

    await is_asked(world, agent)
    assert asked == [agent]


async def test_the_limits_in_force_bind_whatever_policy_the_payment_has(world: World) -> None:
    agent = somebody()
    older = {"completed_at": world.clock.ago(days=60), "authorised_at": world.clock.ago(days=60)}
    for _ in range(4):
        await is_asked(world, agent, **older)

    await is_too_much(world, agent, "requests_per_day", **older)


async def test_what_is_foreseen_for_an_agent_is_what_the_limits_leave(world: World) -> None:
    agent = somebody()
    for _ in range(4):
        await is_asked(world, agent)
    payment = await payment_of(world)
    headers = {"authorization": f"Bearer {world.token('agent', agent)}"}
    own, customers = [
        (await world.http.get(f"/v1/payments/{payment['id']}/eligibility?reason=duplicate{more}", headers=headers)).json()
        for more in ("", "&as=customer")
    ]

    assert (own["allowed"], own["refusal"], customers["allowed"]) == (False, "rate-limited", True)


async def test_requests_at_once_pass_a_limit_by_few_at_most(world: World) -> None:
    """It is no guard of money: two at once do not see each other. Afterwards the limit holds."""
    agent = somebody()

    answers = await asyncio.gather(*(ask(world, agent) for _ in range(8)))

    assert {answer.status_code for answer in answers} <= {201, 429}
    assert sum(answer.status_code == 201 for answer in answers) >= 4
    await is_too_much(world, agent, "requests_per_day")
