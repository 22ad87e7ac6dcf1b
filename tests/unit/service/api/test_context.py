"""What a request is given: who acts and by which channel, whose payments are seen, and which steps are offered."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from service.api.context import RequestContext
from service.api.middleware import TRACE_ID
from service.auth.tokens import Principal
from tests import factories as make
from workflows.domain.enums import Channel, Role
from workflows.domain.errors import Forbidden

CUSTOMERS_STEP = frozenset({Role.wallet, Role.agent})
ACTIONS = {"withdraw": CUSTOMERS_STEP, "approve": frozenset({Role.agent})}


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def context(role: Role | None, merchant_id: str | None = None, *, roles: frozenset[Role] | None = CUSTOMERS_STEP) -> RequestContext:
    services: Any = SimpleNamespace(actions=ACTIONS)
    made = RequestContext({"type": "http", "headers": [], TRACE_ID: "0" * 32}, nothing, services, roles)
    made.known = None if role is None else Principal("somebody", role, merchant_id, datetime.max.replace(tzinfo=UTC))
    return made


def test_an_agent_takes_a_customers_step_by_the_hotline_and_its_own_by_the_system() -> None:
    usual = {role: context(role).actor().channel for role in Role}
    own = {role: context(role, roles=frozenset({Role.agent})).actor().channel for role in (Role.agent, Role.supervisor)}

    assert usual == {
        Role.wallet: Channel.app,
        Role.merchant: Channel.merchant,
        Role.agent: Channel.hotline,
        Role.supervisor: Channel.hotline,
        Role.auditor: Channel.system,
        Role.operator: Channel.system,
    }
    assert set(own.values()) == {Channel.system}
    assert context(Role.agent).actor(Channel.chat).channel is Channel.chat


def test_a_merchant_sees_its_own_only_and_all_others_see_every_one() -> None:
    snapshot = make.completed(merchant_id="shop-1")

    assert [context(Role.merchant, name).owns(snapshot) for name in ("shop-1", "shop-2", None)] == [True, False, False]
    assert all(context(role).owns(snapshot) for role in Role if role is not Role.merchant)
    assert [context(Role.merchant, "shop-1").owns_merchant(name) for name in ("shop-1", "shop-2")] == [True, False]


def test_a_merchants_list_is_filtered_by_itself_whatever_it_asks_for() -> None:
    merchant, agent = context(Role.merchant, "shop-1"), context(Role.agent)

    assert [merchant.merchant_filter(asked) for asked in (None, "shop-1", "shop-2")] == [
        ("shop-1", True),
        ("shop-1", True),
        ("shop-1", False),
    ]
    assert [agent.merchant_filter(asked) for asked in (None, "shop-2")] == [(None, True), ("shop-2", True)]


def test_only_steps_with_a_route_for_the_caller_are_offered_in_their_order() -> None:
    steps = ["approve", "withdraw", "invented"]

    assert context(Role.agent).available(steps) == ["approve", "withdraw"]
    assert context(Role.wallet).available(steps) == ["withdraw"]
    assert context(None).available(steps) == []


def test_whoever_has_no_token_acts_as_nobody() -> None:
    with pytest.raises(Forbidden):
        context(None, roles=None).actor()
