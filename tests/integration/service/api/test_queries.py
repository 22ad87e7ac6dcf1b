"""The lists as a caller sees them: each filter narrows, who follows along misses nothing, and a queue begins with what is due."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.harness import Api, Json, assert_problem
from tests.integration.service.api.deciding import OTHER_SHOP, for_agents, handed_off, later, taken
from workflows.domain.times import rfc3339


async def test_lists_by_wallet_and_by_time(api: Api) -> None:
    wallet, other = f"w-{uuid4().hex}", f"w-{uuid4().hex}"
    payments = [await api.register(wallet_id=wallet) for _ in range(2)]
    for payment in [*payments, await api.register(wallet_id=other)]:
        assert (await api.requested(payment)).status_code == 201
    now = rfc3339(api.clock.now)

    for path in ("cancellations", "refunds"):
        mine = (await api.get(f"/v1/{path}?wallet_id={wallet}")).json()["data"]
        assert {one["payment_id"] for one in mine} == {payment["id"] for payment in payments}
        assert (await api.get(f"/v1/{path}?wallet_id=w-nobody")).json()["data"] == []
        assert (await api.get(f"/v1/{path}?wallet_id={wallet}&created_from={now}")).json()["data"] == mine
        assert (await api.get(f"/v1/{path}?wallet_id={wallet}&created_to={now}")).json()["data"] == []


async def test_who_follows_along_sees_the_oldest_change_first(api: Api) -> None:
    api.clock.now += timedelta(seconds=10)
    start = rfc3339(api.clock.now)
    wallet = f"w-{uuid4().hex}"
    payments = []
    for _ in range(3):
        payments.append(await api.register(wallet_id=wallet, completed_at=None))
        api.clock.now += timedelta(seconds=1)
    assert (await api.post(f"/v1/payments/{payments[0]['id']}/complete")).status_code == 200

    first = (await api.get(f"/v1/payments?wallet_id={wallet}&sort=updated&limit=2")).json()
    api.clock.now += timedelta(seconds=1)
    assert (await api.post(f"/v1/payments/{payments[2]['id']}/complete")).status_code == 200  # between two pages
    rest = (await api.get(f"/v1/payments?wallet_id={wallet}&sort=updated&cursor={first['next_cursor']}")).json()
    all_of_them = (await api.get(f"/v1/payments?wallet_id={wallet}&updated_from={start}")).json()["data"]

    ids = [payment["id"] for payment in payments]
    assert [one["id"] for one in first["data"]] == [ids[1], ids[2]]
    assert [one["id"] for one in rest["data"]] == [ids[0], ids[2]]
    assert [one["id"] for one in all_of_them] == [ids[1], ids[0], ids[2]]
    assert [one["updated_at"] for one in all_of_them] == sorted(one["updated_at"] for one in all_of_them)


async def test_cancellations_and_refunds_can_be_followed_too(api: Api) -> None:
    wallet = f"w-{uuid4().hex}"
    start = rfc3339(api.clock.now)
    asked = []
    for _ in range(3):
        payment = await api.register(wallet_id=wallet)
        asked.append((await api.requested(payment)).json()["payment_id"])
        api.clock.now += timedelta(seconds=1)

    for path in ("cancellations", "refunds"):
        query = f"/v1/{path}?wallet_id={wallet}&updated_from={start}&limit=2"
        first = (await api.get(query)).json()
        rest = (await api.get(f"{query}&cursor={first['next_cursor']}")).json()
        assert [one["payment_id"] for one in first["data"] + rest["data"]] == asked
        assert rest["next_cursor"] is None


async def test_a_cursor_of_the_other_order_is_refused(api: Api) -> None:
    for _ in range(2):
        await api.register()
    newest = (await api.get("/v1/payments?limit=1")).json()["next_cursor"]
    oldest_change = (await api.get("/v1/payments?limit=1&sort=updated")).json()["next_cursor"]

    for query in (f"sort=updated&cursor={newest}", f"cursor={oldest_change}", "sort=created"):
        assert_problem(await api.get(f"/v1/payments?{query}"), 422, "validation-failed")


async def test_a_merchants_queue_begins_with_what_is_due_first(api: Api) -> None:
    """Three pages, of which one begins between equal deadlines."""
    shop, asked = f"shop-{uuid4().hex}", []
    declined = (await handed_off(api, merchant_id=shop))[1]
    for minutes in (0, 0, 0, 0, 5, 9):
        api.clock.now += timedelta(minutes=minutes)
        asked.append((await handed_off(api, merchant_id=shop))[1])
    await handed_off(api)  # another merchant's
    await taken(api, declined, "merchant-decision", "merchant", {"decision": "decline"}, merchant=shop)

    query, cursor, found = "/v1/cancellations?sort=deadline&state=awaiting_merchant&limit=2", "", []
    for _ in range(3):
        page = (await api.get(query + cursor, "merchant", merchant=shop)).json()
        found += page["data"]
        cursor = f"&cursor={page['next_cursor']}"

    assert page["next_cursor"] is None
    assert [one["id"] for one in found] == [one["id"] for one in sorted(asked, key=_due)]
    assert len({one["deadline_at"] for one in found}) == 3


async def test_a_merchants_queue_shows_what_to_decide_on(api: Api) -> None:
    """Also after an offer that came to nothing: what the merchant had said stands there still."""
    shop = f"shop-{uuid4().hex}"
    payment = await api.register(completed_at=api.clock.ago(hours=1), merchant_id=shop)
    cancellation = (await api.requested(payment, note="the left shoe squeaks")).json()
    queue = "/v1/cancellations?state=awaiting_merchant&sort=deadline"
    before = (await api.get(queue, "merchant", merchant=shop)).json()["data"]
    evidence = [{"name": "photo of the sole", "sha256": "ab" * 32}]
    offer = {"decision": "offer", "amount": 1_000, "reason_code": "worn", "note": "half of it", "evidence": evidence}
    await taken(api, cancellation, "merchant-decision", "merchant", offer, merchant=shop)
    await taken(api, cancellation, "offer-response", "wallet", {"accept": False})
    after = (await api.get(queue, "merchant", merchant=shop)).json()["data"]

    assert [(one["id"], one["reason"], one["note"], one["evidence"]) for one in before] == [
        (cancellation["id"], "changed_mind", "the left shoe squeaks", [])
    ]
    assert [(one["id"], one["reason"], one["note"], one["evidence"]) for one in after] == [
        (cancellation["id"], "changed_mind", "the left shoe squeaks", evidence)
    ]
    assert before[0]["deadline_at"] == cancellation["deadline_at"]
    assert (await api.get(queue, "merchant", merchant=OTHER_SHOP)).json()["data"] == []
    assert (await api.get(f"{queue}&merchant_id={shop}", "merchant", merchant=OTHER_SHOP)).json()["data"] == []


@pytest.mark.slow
async def test_what_is_overdue_comes_first(api: Api) -> None:
    """Struck or not: a case that was raised to a supervisor keeps its deadline, and a clock that no worker has come to is over, too."""
    agent = f"agent-{uuid4().hex}"
    raised = (await for_agents(api))[1]
    await later(api, days=30)
    await taken(api, raised, "assign", "supervisor", {"to": agent})
    late = (await for_agents(api))[1]
    await taken(api, late, "assign", "agent", {"to": agent})
    api.clock.now = datetime.fromisoformat(late["deadline_at"])
    fresh = (await for_agents(api))[1]
    await taken(api, fresh, "assign", "agent", {"to": agent})

    queue = f"/v1/cancellations?sort=deadline&assigned_to={agent}"
    all_of_them = (await api.get(queue, "supervisor")).json()["data"]
    overdue = (await api.get(f"{queue}&overdue=true", "supervisor")).json()["data"]
    others = (await api.get(f"{queue}&overdue=false", "supervisor")).json()["data"]
    by_state = (await api.get(f"{queue}&overdue=true&state=awaiting_agent&route=agent", "supervisor")).json()["data"]

    assert [(one["id"], one["raised"]) for one in all_of_them] == [(raised["id"], True), (late["id"], False), (fresh["id"], False)]
    assert [one["id"] for one in overdue] == [raised["id"], late["id"]]
    assert [one["id"] for one in others] == [fresh["id"]]
    assert by_state == overdue


async def test_a_queue_holds_only_what_waits_and_is_narrowed_like_the_list(api: Api) -> None:
    wallet = f"w-{uuid4().hex}"
    first, second = [await handed_off(api, wallet_id=wallet) for _ in range(2)]
    at_once = await api.register(wallet_id=wallet)
    assert (await api.requested(at_once)).json()["deadline_at"] is None
    start = second[1]["created_at"]
    queue = f"/v1/cancellations?sort=deadline&wallet_id={wallet}"
    both = sorted((first[1], second[1]), key=_due)

    page = (await api.get(f"{queue}&limit=1")).json()
    rest = (await api.get(f"{queue}&limit=1&cursor={page['next_cursor']}")).json()
    assert [one["id"] for one in page["data"] + rest["data"]] == [one["id"] for one in both]
    assert rest["next_cursor"] is None
    for narrowed, expected in (
        (f"&payment_id={first[0]['id']}", [first[1]["id"]]),
        (f"&created_from={start}", [one["id"] for one in both]),
        (f"&created_to={start}", []),
        ("&route=merchant", [one["id"] for one in both]),
        ("&route=automatic", []),
        ("&state=completed", []),
    ):
        assert [one["id"] for one in (await api.get(queue + narrowed)).json()["data"]] == expected, narrowed


async def test_an_order_is_refused_where_it_says_nothing(api: Api) -> None:
    """A deadline is a cancellation's, and `updated_from` needs the order of changes."""
    when = rfc3339(api.clock.now)
    for query, pointer in (
        ("cancellations?sort=created", "/query/sort"),
        (f"cancellations?sort=deadline&updated_from={when}", "/query/updated_from"),
        ("payments?sort=deadline", "/query/sort"),
        ("refunds?sort=deadline", "/query/sort"),
    ):
        said = assert_problem(await api.get(f"/v1/{query}"), 422, "validation-failed")
        assert [error["pointer"] for error in said["errors"]] == [pointer]


async def test_each_order_has_cursors_of_its_own(api: Api) -> None:
    for _ in range(2):
        await handed_off(api)
    orders = ("", "&sort=updated", "&sort=deadline")
    cursors = {order: (await api.get(f"/v1/cancellations?limit=1{order}")).json()["next_cursor"] for order in orders}

    for order in orders:
        for other, cursor in cursors.items():
            answer = await api.get(f"/v1/cancellations?limit=1{order}&cursor={cursor}")
            if order == other:
                assert answer.status_code == 200
            else:
                said = assert_problem(answer, 422, "validation-failed")
                assert [error["pointer"] for error in said["errors"]] == ["/query/cursor"]


def _due(cancellation: Json) -> tuple[str, str]:
    return cancellation["deadline_at"], cancellation["id"]
