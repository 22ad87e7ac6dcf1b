"""Published policies: the first one, which of them is in force, and that each is read once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
from msgspec.structs import replace

from service import calendars, wiring
from service.shipped_policies import default_policy
from tests.database import Database
from tests.factories import NOW, Clock
from workflows.clock_and_ids import new_id
from workflows.commands import SERVICE
from workflows.domain.changes import Context
from workflows.domain.ids import payment_id
from workflows.storage.apply import Applied
from workflows.storage.policies import Policies, PublicationQuery, load_for_publication, publication, publish_first
from workflows.storage.service_chain import write


@asynccontextmanager
async def owning(database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        yield connection
    finally:
        await connection.close()


async def test_before_any_policy_is_in_force_the_first_one_is(database: Database) -> None:
    """For a payment that is registered, and for an agent's limits alike."""
    first, clock = default_policy(), Clock()
    later = replace(first, version="later", effective_from=clock() + timedelta(days=1))
    context = Context(actor=SERVICE, now=clock(), new_id=new_id, new_salt=lambda: b"")
    async with wiring.database(database.app_url, size=2) as pool:
        await publish_first(pool, first, now=clock(), new_id=new_id, library=calendars.calendar)
        store = wiring.runtime(pool, clock=clock).store
        found = await store.load_for_publication(PublicationQuery(version=later.version))
        await store.apply_service_change(publication(later, found, context=context))

        earlier = first.effective_from - timedelta(days=1)
        for moment, version in ((earlier, first.version), (clock(), first.version), (later.effective_from, "later")):
            in_force = await store.policies.in_force(moment)
            registered = (await store.load_for_registration(payment_id("none"), moment, "shop")).policy_version
            assert in_force is not None
            assert (in_force.policy.version, registered) == (version, version)


async def test_of_two_that_start_at_once_one_publishes_the_first_policy(database: Database) -> None:
    policy = default_policy()

    async def publish() -> bool:
        connection = await asyncpg.connect(database.owner_url, ssl=False)
        try:
            return await publish_first(connection, policy, now=NOW, new_id=new_id, library=calendars.calendar)
        finally:
            await connection.close()

    async with owning(database) as owner:
        await owner.execute("alter table policy disable trigger user; delete from policy; alter table policy enable trigger user")
    assert sorted(await asyncio.gather(publish(), publish(), publish())) == [False, False, True]
    assert await publish() is False

    async with owning(database) as owner:
        assert await owner.fetchval("select array_agg(version) from policy") == [policy.version]


async def test_versions_are_read_once_and_the_newest_come_first(pool: Any) -> None:
    first = await pool.fetchval("select version from policy")
    policies = Policies(pool)
    assert await policies.get("v-1") is None
    for version in ("v-1", "v-2"):
        policy = replace(default_policy(), version=version)
        found = await load_for_publication(pool, PublicationQuery(version=version))
        assert found.existing is None
        context = Context(actor=SERVICE, now=NOW, new_id=new_id, new_salt=lambda: b"")
        assert await write(pool, publication(policy, found, context=context)) is Applied

    listed = await policies.page(2)
    assert [published.policy.version for _, published in listed] == ["v-2", "v-1"]
    assert [one.policy.version for _, one in await policies.page(2, before=listed[-1][0])] == [first]
    existing = (await load_for_publication(pool, PublicationQuery(version="v-1"))).existing
    assert existing == await policies.get("v-1")
    await pool.close()
    assert await policies.get("v-1") == existing, "no connection is needed any more"
