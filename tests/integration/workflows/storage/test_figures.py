"""How much work lies where: told in few rows among a hundred thousand payments."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from tests.database import Cluster
from tests.integration.workflows.storage import crowd
from tests.integration.workflows.storage.explained import Connection, Explained, must_be_short
from workflows.domain.enums import CANCELLATION_OPEN
from workflows.storage import figures
from workflows.storage.figures import COUNT_MAX, Figure, load_figures

pytestmark = pytest.mark.slow
_JOBS = """
insert into job (payment_id, id, kind, subject_id, run_at, attempt, leased_until, provider)
select gen_random_uuid(), gen_random_uuid(), q.kind::job_kind, gen_random_uuid(), $1::timestamptz + q.due, 1,
       $1::timestamptz + q.leased, q.provider
  from (values ('move', 'sandbox', interval '-90 seconds', null::interval, 20000), ('move', 'sandbox', interval '1 hour', null, 30000),
               ('move', 'gone', interval '-1 day', null, 3), ('deadline', '', interval '2 days', null, 30000),
               ('notification', 'sandbox', interval '-1 hour', interval '-10 seconds', 5),
               ('notification', 'sandbox', interval '-1 hour', interval '30 seconds', 4)) q(kind, provider, due, leased, many)
 cross join lateral generate_series(1, q.many)
"""


@pytest.fixture(scope="module")
async def connection(cluster: Cluster, crowd_template: str) -> AsyncIterator[Connection]:
    async with cluster.clone(crowd_template) as made:
        connected = await asyncpg.connect(made.owner_url, ssl=False, server_settings={"enable_seqscan": "off"})
        try:
            await connected.execute(_JOBS, crowd.NOW)
            await connected.execute("analyze job")
            yield connected
        finally:
            await connected.close()


@pytest.fixture(scope="module")
async def found(connection: Connection) -> dict[tuple[str, str, str], Figure]:
    return {(one.name, one.rail, one.kind): one for one in await load_figures(connection, crowd.NOW)}


async def test_it_reads_no_table_whole(connection: Connection) -> None:
    explained = Explained(connection)

    await load_figures(explained, crowd.NOW)

    assert len(explained.plans) == 2
    await must_be_short(explained, "the figures", rows_max=3 * COUNT_MAX)


def test_the_queue_by_kind_and_rail(found: dict[tuple[str, str, str], Figure]) -> None:
    due = {key[1:]: (one.count, one.oldest_seconds) for key, one in found.items() if key[0] == "jobs_due"}
    leased = {key[1:]: (one.count, one.oldest_seconds) for key, one in found.items() if key[0] == "jobs_leased"}

    assert due == {("sandbox", "move"): (COUNT_MAX, 90), ("gone", "move"): (3, 86400), ("", "deadline"): (0, None)}
    assert leased == {("sandbox", "notification"): (9, 10)}, "since the first of those leases ended that have ended"


async def test_legs_cases_and_anomalies(connection: Connection, found: dict[tuple[str, str, str], Figure]) -> None:
    legs = {key[1:]: one.count for key, one in found.items() if key[0] == "legs"}
    cases = {key[2]: one.count for key, one in found.items() if key[0] == "cases"}
    rows = await connection.fetch("select provider, state::text, count(*) from leg where state = 'processing' group by 1, 2")
    states = await connection.fetch("select state::text, count(*) from cancellation group by 1")
    counted = {row[0]: row[1] for row in states}
    late = await connection.fetchrow("select count(*), min(deadline_at) from cancellation where deadline_at <= $1", crowd.NOW)

    assert legs == {(row[0], row[1]): row[2] for row in rows} != {}
    assert cases == {state.value: min(COUNT_MAX, counted.get(state.value, 0)) for state in CANCELLATION_OPEN}
    overdue = found["cases_overdue", "", ""]
    assert (overdue.count, overdue.oldest_seconds) == (late[0], (crowd.NOW - late[1]) / timedelta(seconds=1))


async def test_of_the_anomalies_only_the_newest_are_looked_at(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten open ones of the crowd are the oldest of ten thousand."""
    everything = figures.FIGURES.replace(f"limit {figures.ANOMALIES_LOOKED_AT}", "limit 100000")
    monkeypatch.setattr(figures, "FIGURES", everything)

    found = {one.name: one.count for one in await load_figures(connection, crowd.NOW)}

    assert found["anomalies_open"] == 10
