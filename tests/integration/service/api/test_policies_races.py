"""Policies are published and merchants change while payments are decided: each decision is by exactly what its payment is pinned to."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from service import wiring
from service.app import create_app
from tests.database import Cluster
from tests.harness import Api, calling, running
from tests.integration.service.api.test_merchants import TWO_HOURS, body, put
from tests.integration.service.api.test_policies import document, publish
from tests.rails import RailProcess
from workflows.domain.enums import Route
from workflows.domain.policies.facts import facts_from
from workflows.domain.policies.verdicts import Allowed, Denied
from workflows.flows.check import run_checks
from workflows.storage.snapshot import SnapshotQuery

SHOPS = ("race-1", "race-2")
ROUNDS = 15
PUBLISHER_ROUNDS = 25


@pytest.fixture
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("publishing"), rail.url) as made:
        last = await made.owner.fetchval("select max(occurred_at) from record")
        made.clock.now = (last + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        yield made
        assert [(one.name, one.examples) for one in await run_checks(made.owner) if one.broken] == []


@pytest.mark.slow
async def test_each_decision_is_by_exactly_one_pinned_version(api: Api) -> None:
    async with (
        calling(create_app(api.settings, clock=api.clock)) as second,
        wiring.database(api.settings.database_url, size=2) as pool,
    ):
        done = asyncio.Event()

        async def publishing() -> None:
            for number in range(ROUNDS):
                api.clock.now += timedelta(seconds=1)
                route = ("agent", "merchant", "automatic")[number % 3]
                rules = [{"name": f"rule-{number}", "route": route, "when": {"state": "completed"}}]
                made = await publish(api, document(api, effective_from=api.clock.ago(), rules=rules), http=second)
                assert made.status_code == 201, made.text
            done.set()

        async def describing(shop: str) -> None:
            number = 0
            while not done.is_set():
                number += 1
                window = {"anchor": "completed_at", "length": f"{number} hours"}
                rule = {**TWO_HOURS, "route": ("return", "automatic")[number % 2], "window": window}
                accept = {"CNY": 10_000} if number % 3 == 0 else {}
                answer = await put(api, shop, body(name=f"Shop {number}", rules=[rule], auto_accept_up_to=accept), http=second)
                assert answer.status_code in {200, 201, 422}, answer.text
                await asyncio.sleep(0)

        async def asking(shop: str) -> list[dict[str, Any]]:
            asked = []
            while not done.is_set():
                payment = await api.register(merchant_id=shop, completed_at=api.clock.ago())
                answer = await api.requested(payment)
                assert answer.status_code in {201, 422}, answer.text
                asked.append(payment)
            return asked

        results = await asyncio.gather(publishing(), *(describing(shop) for shop in SHOPS), *(asking(shop) for shop in SHOPS * 2))
        payments = [one for found in results if found for one in found]

        runtime = wiring.runtime(pool, clock=api.clock)
        pinned: set[tuple[str, str | None]] = set()
        for shown in payments:
            snapshot = await runtime.store.load(SnapshotQuery(payment_id=UUID(shown["id"].removeprefix("pay_")), shown=True))
            assert snapshot is not None
            payment = snapshot.payment
            assert (payment.policy_version, payment.merchant_rules_version) == (shown["policy_version"], shown["merchant_rules_version"])
            pinned.add((payment.policy_version, payment.merchant_rules_version))
            terms = await runtime.pinned_terms(payment.policy_version, payment.merchant_rules_version)
            assert terms is not None
            for one in await api.owner.fetch("select * from cancellation where payment_id = $1", payment.id):
                verdict = terms.verdict(facts_from(json.loads(one["facts"])), one["created_at"])
                assert (verdict.rule, verdict.policy_version) == (one["rule"], one["policy_version"])
                if isinstance(verdict, Denied):
                    assert verdict.refusal == one["refusal"]
                else:
                    assert isinstance(verdict, Allowed)
                    assert verdict.route is Route(one["route"])
        assert len(payments) > 20
        assert len({policy for policy, _ in pinned}) > 2
        assert len({merchant for _, merchant in pinned}) > 2


@pytest.mark.slow
async def test_of_two_publishers_of_one_version_one_wins(api: Api) -> None:
    async with calling(create_app(api.settings, clock=api.clock)) as second:
        for _ in range(PUBLISHER_ROUNDS):
            version = f"v-{uuid4().hex[:8]}"
            bodies = [document(api, version=version), document(api, version=version, timezone="Asia/Tokyo")]
            answers = await asyncio.gather(publish(api, bodies[0], sub="olga"), publish(api, bodies[1], sub="omar", http=second))

            assert sorted(answer.status_code for answer in answers) == [201, 409]
            [won] = [answer for answer in answers if answer.status_code == 201]
            kept = (await api.get(f"/v1/policies/{version}")).json()
            assert kept == won.json()
            assert kept["published_by"] == ("olga" if won is answers[0] else "omar")


@pytest.mark.slow
async def test_of_two_publishers_of_the_same_both_have_it(api: Api) -> None:
    async with calling(create_app(api.settings, clock=api.clock)) as second:
        for _ in range(PUBLISHER_ROUNDS):
            sent = document(api)
            answers = await asyncio.gather(publish(api, sent, sub="olga"), publish(api, sent, sub="omar", http=second))

            assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 1}
            assert answers[0].content == answers[1].content
