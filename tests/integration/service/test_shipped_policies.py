"""Each policy that ships goes the whole way: published, shown, in force, deciding, and tried again on what it decided."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from service.shipped_policies import SHIPPED, shipped_policy
from tests.database import Cluster
from tests.harness import Api, Json, running
from tests.rails import RailProcess
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import parse_policy

REASONS = ("changed_mind", "not_received", "damaged", "unauthorised", "duplicate", "technical")
AGES = (timedelta(minutes=5), timedelta(days=3), timedelta(days=20), timedelta(days=100))
DECIDED = len(REASONS) * len(AGES)


@pytest.fixture
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: which policy is in force decides everything here."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("shipped"), rail.url) as made:
        yield made


async def simulated(api: Api, policy: Json) -> Json:
    span = {"from": "2026-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}
    answer = await api.post("/v1/policies/simulate", {"policy": policy, **span}, role="operator", key=None)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "default"])
@pytest.mark.slow
async def test_a_shipped_policy_goes_the_whole_way(api: Api, name: str) -> None:
    policy = shipped_policy(name)

    made = await api.post("/v1/policies", policy_data(policy), role="operator")
    shown = (await api.get(f"/v1/policies/{policy.version}", "auditor")).json()["policy"]
    start = api.clock.now
    payments = {(age, reason): await api.register() for age in AGES for reason in REASONS}
    outcomes = set()
    for (age, reason), payment in payments.items():
        api.clock.now = start + age
        answer = (await api.requested(payment, reason=reason)).json()
        outcomes.add(answer.get("route") or answer["refusal"])

    assert made.status_code == 201, made.text
    read = parse_policy(shown, new=True)
    assert (read.rules, read.deadlines, read.next_steps) == (policy.rules, policy.deadlines, policy.next_steps)
    assert read.calendar.name == policy.calendar.name
    assert read.calendar.days is not None, "its days are published with it"
    assert {payment["policy_version"] for payment in payments.values()} == {policy.version}
    assert len(outcomes) > 1
    same = await simulated(api, shown)
    assert (same["decisions"], same["changed"], same["window_changed"]) == (DECIDED, 0, 0)
    assert (same["not_reproduced"], same["skipped"], same["differences"]) == (0, 0, [])
    other = await simulated(api, policy_data(shipped_policy("default")))
    assert (other["decisions"], other["not_reproduced"]) == (DECIDED, 0)
    assert other["changed"] == len(other["differences"]) > 0
