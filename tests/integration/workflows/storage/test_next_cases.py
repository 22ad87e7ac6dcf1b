"""The next cases among thousands that nobody has: the most urgent that one may decide, by an index."""

import pytest

from tests.integration.workflows.storage import crowd
from tests.integration.workflows.storage.explained import Connection, Explained, must_be_short
from workflows.domain.ids import payment_id
from workflows.storage import next_cases
from workflows.storage.next_cases import NextCasesQuery

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("busy_team")
@pytest.mark.parametrize("is_supervisor", [True, False], ids=["supervisor", "agent"])
@pytest.mark.parametrize("sub", ["agent-7", "nobody"])
async def test_the_next_cases(crowded: Connection, is_supervisor: bool, sub: str) -> None:
    explained = Explained(crowded)
    wanted = NextCasesQuery(
        sub=sub, is_supervisor=is_supervisor, now=crowd.NOW, scope_id=payment_id("some"), key="k", without=[payment_id("none")]
    )

    found = await next_cases.load(explained, wanted)

    await must_be_short(explained, f"the next cases of {wanted}", rows_max=200)
    rows = await crowded.fetch(
        "select id from cancellation where state = 'awaiting_agent' and requester_id <> $1 and ($2 or not raised and deadline_at > $3)"
        " order by least(deadline_at, first_response_due_at, resolution_due_at), id limit 20",
        sub,
        is_supervisor,
        crowd.NOW,
    )
    assert [one for _, one in found.cases] == [row["id"] for row in rows]
    assert len(rows) == next_cases.CASES_MAX
