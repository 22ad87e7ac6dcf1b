"""A payment of which cancellation after cancellation was refused: what is shown of it, and read for it, stays as much."""

from typing import Any
from uuid import uuid4

import pytest

from tests.harness import Api, assert_problem
from workflows.domain.ids import parse
from workflows.domain.model import CANCELLATIONS_SHOWN

pytestmark = pytest.mark.slow

REFUSED = 300
# A refused request again, as often as it is told, each with a note of its own.
_AGAIN = """
with made as (
    insert into cancellation ({columns}) select {values} from cancellation c, generate_series(1, $2) n where c.payment_id = $1 returning id
)
insert into personal_text (payment_id, id, subject_id, name, value, salt)
select $1, uuidv7(), made.id, 'note', to_jsonb(repeat('x', 2000)), '\\x00' from made
"""


async def refuse_often(api: Api, payment: dict[str, Any]) -> None:
    """Written by the database: the policy in force would not let anybody ask so often."""
    columns = [row["column_name"] for row in await api.owner.fetch(_COLUMNS)]
    values = ["uuidv7()" if name == "id" else f'c."{name}"' for name in columns]
    statement = _AGAIN.format(columns=", ".join(f'"{name}"' for name in columns), values=", ".join(values))
    await api.owner.execute(statement, parse("pay", payment["id"]), REFUSED)


_COLUMNS = """
select column_name from information_schema.columns
 where table_name = 'cancellation' and is_generated = 'NEVER' and column_name <> 'client_reference'
"""


async def test_the_last_twenty_are_shown_and_all_are_listed(api: Api) -> None:
    merchant = f"m-{uuid4().hex}"
    payment = await api.register(merchant_id=merchant, completed_at=api.clock.ago(days=400))
    first = (await api.requested(payment)).json()["cancellation_id"]
    before = await api.get(f"/v1/payments/{payment['id']}")
    await refuse_often(api, payment)

    shown = await api.get(f"/v1/payments/{payment['id']}")
    listed = await api.get("/v1/payments", params={"merchant_id": merchant})

    said = shown.json()
    assert before.json()["cancellations"] == [first]
    assert len(said["cancellations"]) == CANCELLATIONS_SHOWN == 20
    assert first not in said["cancellations"], "the newest"
    assert listed.json()["data"] == [said]
    found = (await api.get(said["cancellations_url"], params={"limit": 200})).json()
    assert len(found["data"]) == 200
    assert found["next_cursor"]
    assert said["cancellations"][-1] in {one["id"] for one in found["data"]}


async def test_no_more_texts_are_read_than_are_shown(api: Api) -> None:
    payment = await api.register(completed_at=api.clock.ago(days=400), metadata={"city": "Hangzhou"})
    cancellation = (await api.requested(payment, note="mine")).json()["cancellation_id"]
    await refuse_often(api, payment)
    context: Any = api.worker.runtime.store

    loaded = (await context.load_many([parse("pay", payment["id"])], [parse("can", cancellation)]))[parse("pay", payment["id"])]

    assert {(text.subject_id, text.name) for text in loaded.texts} == {
        (parse("pay", payment["id"]), "metadata"),
        (parse("can", cancellation), "note"),
    }
    assert (await api.get(f"/v1/payments/{payment['id']}")).json()["metadata"] == {"city": "Hangzhou"}
    assert (await api.get(f"/v1/cancellations/{cancellation}", "agent")).json()["note"] == "mine"


@pytest.mark.long
async def test_nobody_asks_for_ever(api: Api) -> None:
    """Not even a refusal is put on record any more: a history has an end."""
    payment = await api.register(completed_at=api.clock.ago(days=400))
    await api.requested(payment)
    await refuse_often(api, payment)
    still = await api.requested(payment)
    await refuse_often(api, payment)
    before = await api.rows()

    refused = await api.requested(payment)

    assert still.status_code == 422, "recorded, as every refusal"
    said = assert_problem(refused, 429, "rate-limited")
    assert "Nothing was recorded" in said["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    assert await api.rows() == before
