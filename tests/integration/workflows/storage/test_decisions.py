"""Kept decisions, page by page: all of a span once, in their order, and each page by an index."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.workflows.storage import crowd
from tests.integration.workflows.storage.explained import Connection, Explained, must_be_short
from workflows.storage import decisions
from workflows.storage.list_filters import Place

pytestmark = pytest.mark.slow
DECISIONS = 20_000  # of the crowd: one in five payments
EVERYTHING = crowd.START - timedelta(days=1), crowd.NOW


async def walked(crowded: Connection, start: Any, end: Any) -> list[UUID]:
    found: list[UUID] = []
    after = decisions.before_all(start)
    while page := await decisions.page(crowded, after, end):
        found += [one.cancellation_id for one in page]
        after = Place(page[-1].created_at, page[-1].cancellation_id)
    return found


async def test_every_decision_of_a_span_is_read_once_and_in_order(crowded: Connection) -> None:
    start, end = crowd.START + timedelta(seconds=50), crowd.MIDDLE
    expected = await crowded.fetch("select id, created_at from cancellation order by created_at, id")

    assert await walked(crowded, *EVERYTHING) == [row["id"] for row in expected]
    assert await walked(crowded, start, end) == [row["id"] for row in expected if start <= row["created_at"] < end]
    assert await walked(crowded, end, end) == []
    assert len(expected) == DECISIONS


async def test_decisions_of_the_same_moment_are_read_once(crowded: Connection) -> None:
    change = crowded.transaction()
    await change.start()
    await crowded.execute("alter table cancellation disable trigger user")
    await crowded.execute("update cancellation set created_at = $1 where created_at < $2", crowd.START, crowd.MIDDLE)
    try:
        found = await walked(crowded, crowd.START, crowd.MIDDLE)
    finally:
        await change.rollback()

    assert len(found) == len(set(found)) > 3 * decisions.PAGE_ROWS


@pytest.mark.parametrize("start", [EVERYTHING[0], crowd.MIDDLE, crowd.NOW], ids=["the first page", "a later page", "the future"])
@pytest.mark.parametrize("end", [crowd.NOW, crowd.MIDDLE + timedelta(minutes=1)], ids=["a long span", "a short span"])
async def test_a_page_is_read_by_an_index(crowded: Connection, start: Any, end: Any) -> None:
    explained = Explained(crowded)

    await decisions.page(explained, decisions.before_all(start), end)

    await must_be_short(explained, f"decisions from {start} to {end}", rows_max=decisions.PAGE_ROWS)
    for plan in explained.plans.values():
        assert "cancellation_newest" in json.dumps(plan)


async def test_what_kept_no_facts_or_none_that_can_be_read_has_none(crowded: Connection) -> None:
    first = decisions.before_all(EVERYTHING[0])
    change = crowded.transaction()
    await change.start()
    ids = [one.cancellation_id for one in (await decisions.page(crowded, first, crowd.NOW))[:4]]
    for id_, facts in zip(ids, ("{}", '{"state": "completed"}', '{"state": "nowhere"}', "[1]"), strict=True):
        await crowded.execute("update cancellation set facts = $2 where id = $1", id_, facts)
    found = (await decisions.page(crowded, first, crowd.NOW))[:4]
    await change.rollback()

    assert [one.facts for one in found] == [None] * 4
    assert found[0].policy_version == "p"
