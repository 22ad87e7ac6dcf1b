"""A rail's word is stored as it came, once, and with it the job to act on it."""

from dataclasses import replace
from typing import Any

from tests.factories import NOW
from workflows.clock_and_ids import new_id
from workflows.storage.notifications import ReceivedNotification, StoredNotification, load, store

WORD = ReceivedNotification(payment_id=new_id(), provider="sandbox", rail_id="n-1", body=b"\x00not { utf-8 \xff", received_at=NOW)


async def test_a_word_is_kept_byte_for_byte_with_a_job_that_is_due_at_once(pool: Any) -> None:
    id_, job_id = new_id(), new_id()

    assert await store(pool, WORD, id=id_, job_id=job_id)

    expected = StoredNotification(provider="sandbox", rail_id="n-1", body=WORD.body, received_at=NOW, handled_at=None)
    assert await load(pool, WORD.payment_id, id_) == expected
    job = await pool.fetchrow("select id, payment_id, kind, provider, subject_id, run_at, attempt from job")
    assert tuple(job) == (job_id, WORD.payment_id, "notification", "sandbox", id_, NOW, 0)


async def test_the_same_word_again_makes_neither_a_row_nor_a_job(pool: Any) -> None:
    await store(pool, WORD, id=new_id(), job_id=new_id())

    for again in (WORD, replace(WORD, body=b"{}"), replace(WORD, received_at=NOW.replace(year=2027))):
        assert not await store(pool, again, id=new_id(), job_id=new_id())
    assert await pool.fetchval("select count(*) from notification") == await pool.fetchval("select count(*) from job") == 1

    for other in (replace(WORD, rail_id="n-2"), replace(WORD, provider="another"), replace(WORD, payment_id=new_id())):
        assert await store(pool, other, id=new_id(), job_id=new_id())


async def test_nobody_finds_what_is_not_there(pool: Any) -> None:
    id_ = new_id()
    await store(pool, WORD, id=id_, job_id=new_id())

    assert await load(pool, WORD.payment_id, new_id()) is None
    assert await load(pool, new_id(), id_) is None
