"""What one person of ours asked for lately, among thousands of requests: counted by an index."""

import pytest

from tests.factories import completed
from tests.integration.workflows.storage import crowd
from tests.integration.workflows.storage.explained import Connection, Explained, must_be_short
from workflows.storage import agent_requests
from workflows.storage.agent_requests import AgentRequestsQuery

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("busy_team")
@pytest.mark.parametrize("sub", ["agent-7", "nobody"])
async def test_what_an_agent_asked_for(crowded: Connection, sub: str) -> None:
    explained = Explained(crowded)
    wanted = AgentRequestsQuery(sub=sub, since=crowd.LATE)

    found = await agent_requests.load(explained, wanted, completed().payment)

    await must_be_short(explained, f"what {sub} asked for", rows_max=500)
    made = "from cancellation where requester_id = $1 and created_at > $2"
    count = await crowded.fetchval(f"select count(*) {made}", sub, wanted.since)
    assert found.requests == count
    assert (count > 0) is (sub == "agent-7")
