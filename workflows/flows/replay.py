"""Fold the records of every payment into what they tell, and compare that with its rows: a batch of payments at a time."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from workflows.domain import ids
from workflows.domain.replay.comparison import REPLAYED, TEXTS, Rows, differences, salted_digest
from workflows.domain.replay.story import Story

PAYMENTS_AT_ONCE = 250
_ROWS = """
select to_json(p)::text as payment,
       (select json_agg(to_json(c)) from cancellation c where c.payment_id = p.id)::text as cancellations,
       (select json_agg(to_json(l)) from leg l where l.payment_id = p.id)::text as legs,
       (select json_agg(to_json(t)) from personal_text t where t.payment_id = p.id)::text as texts,
       (select json_agg(json_build_object('id', a.id, 'kind', a.kind, 'leg_id', a.leg_id, 'created_at', a.created_at, 'steps', (
               select coalesce(json_agg(to_json(s) order by s.number), '[]') from anomaly_step s
                where s.scope_id = a.scope_id and s.anomaly_id = a.id)))
          from anomaly a where a.payment_id = p.id)::text as anomalies
  from payment p where p.id = any($1::uuid[])"""
# Of anomalies that belong to no payment.
_NOTES = """
select to_json(t)::text from anomaly a join personal_text t on t.payment_id = a.scope_id and t.subject_id = a.id and t.name = 'note'
 where a.id = any($1::uuid[])"""

Violated = Callable[[str, str], None]  # one of REPLAYED, and what is wrong


class Replay:
    """All records, shown one by one in the order of chain and sequence; it holds `PAYMENTS_AT_ONCE` payments, and no more."""

    def __init__(self, violated: Violated) -> None:
        self.seen: dict[str, int] = dict.fromkeys(REPLAYED, 0)  # how many of each were looked at
        self._violated = violated
        self._story: Story | None = None
        self._stories: list[Story] = []
        self._notes: dict[UUID, str] = {}  # the digest of the note, by its anomaly

    def see(self, payment_id: UUID | None, sequence: int, body: dict[str, Any]) -> None:
        if payment_id is None:
            self._see_note(body)
            return
        story = self._story
        if story is None or story.payment_id != payment_id:
            story = self._story = Story(payment_id=payment_id)
            self._stories.append(story)
        story.see(sequence, body)

    async def judge(self, connection: asyncpg.Connection, *, last: bool = False) -> None:
        """Compare what is complete, once there is enough of it; whatever there is where no more records follow."""
        if not last and len(self._stories) <= PAYMENTS_AT_ONCE and len(self._notes) <= PAYMENTS_AT_ONCE:
            return
        complete = self._stories if last else self._stories[:-1]
        self._stories = [] if last else self._stories[-1:]
        for at in range(0, len(complete), PAYMENTS_AT_ONCE):
            await self._judge_payments(connection, complete[at : at + PAYMENTS_AT_ONCE])
        await self._judge_notes(connection)

    async def _judge_payments(self, connection: asyncpg.Connection, stories: list[Story]) -> None:
        found = {}
        for row in await connection.fetch(_ROWS, [story.payment_id for story in stories]):
            rows = Rows(**{name: json.loads(text or "[]") for name, text in row.items()})
            found[UUID(rows.payment["id"])] = rows
        for story in stories:
            if (stored := found.get(story.payment_id)) is not None:  # where there is none, another invariant says so
                self._count(stored)
                for difference in differences(story, stored):
                    self._violated(difference.about, difference.what)

    def _count(self, rows: Rows) -> None:
        of_each = (1, 1, len(rows.cancellations), len(rows.legs), len(rows.anomalies), len(rows.texts))
        for name, count in zip(REPLAYED, of_each, strict=True):
            self.seen[name] += count

    def _see_note(self, body: dict[str, Any]) -> None:
        data = body.get("data")
        if isinstance(data, dict) and isinstance(data.get("note_digest"), str):
            anomaly_id = ids.parse("ano", str(data.get("anomaly_id")))
            if anomaly_id is not None:
                self._notes[anomaly_id] = data["note_digest"]

    async def _judge_notes(self, connection: asyncpg.Connection) -> None:
        notes, self._notes = self._notes, {}
        if not notes:
            return
        for (text,) in await connection.fetch(_NOTES, list(notes)):
            note = json.loads(text)
            self.seen[TEXTS] += 1
            subject = UUID(note["subject_id"])
            if salted_digest(note) != notes[subject]:
                self._violated(TEXTS, f"{ids.public('ano', subject)} {ids.public('txt', UUID(note['id']))} name=note digest=differs")
