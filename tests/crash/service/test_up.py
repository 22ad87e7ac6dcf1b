"""A thousand refunds while workers, the whole service and its database are killed: each is paid once, and nothing acknowledged is lost."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.crash.tree import Tree
from workflows.clock_and_ids import utc_now
from workflows.domain import ids
from workflows.domain.enums import Role
from workflows.domain.times import rfc3339

pytestmark = pytest.mark.long

SEED = 20261122
REFUNDS = 1_000
CALLERS = 16
ASKING_SECONDS = 24  # the requests are spread over so long, so that every kill meets some
SETTLED_SECONDS_MAX = 900  # only bounds a hang, as does the next
ANSWER_SECONDS_MAX = 300
FAULTS = (
    "ok",
    "timeout_after_effect",
    "timeout_before_effect",
    "unavailable:2",
    "duplicate_notification",
    "early_notification",
    "pending:1s",
)
RETRIED = {500, 503}  # 409 of these is the service asking for patience, every other answer is an answer

_started = time.monotonic()


def say(what: str) -> None:
    print(f"[{time.monotonic() - _started:6.1f} s] {what}", flush=True)


@dataclass(frozen=True, slots=True)
class Payment:
    reference: str
    amount: int
    fault: str

    @property
    def path(self) -> str:
        return f"/v1/payments/{ids.public('pay', ids.payment_id(self.reference))}/cancellations"

    def body(self, completed_at: str) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "wallet_id": f"wallet-{self.amount % 97}",
            "merchant_id": f"merchant-{self.amount % 7}",
            "amount": self.amount,
            "currency": "CNY",
            "completed_at": completed_at,
            "funding": [{"source": "card", "amount": self.amount, "provider": "sandbox", "provider_reference": self.fault}],
        }


@dataclass
class Client:
    """The wallet's backend: repeats what got no answer, under the same key, until it is answered."""

    http: httpx.AsyncClient
    token: str
    acknowledged: dict[str, str] = field(default_factory=dict)  # a payment's reference: the cancellation's id
    repeated: Counter[str] = field(default_factory=Counter)

    async def requested(self, payment: Payment) -> None:
        headers = {"authorization": f"Bearer {self.token}", "idempotency-key": f"refund-{payment.reference}"}
        while True:
            try:
                answer = await self.http.post(payment.path, json={"reason": "changed_mind"}, headers=headers)
            except httpx.HTTPError as why:
                self.repeated[type(why).__name__] += 1
            else:
                if answer.is_success:
                    self.acknowledged[payment.reference] = answer.json()["id"]
                    return
                code = answer.json()["code"] if answer.headers.get("content-type") == "application/problem+json" else answer.text
                assert answer.status_code in RETRIED or code == "idempotency-in-flight", (answer.status_code, answer.text)
                self.repeated[code] += 1
            await asyncio.sleep(0.25)


def made(chance: random.Random, count: int) -> list[Payment]:
    return [Payment(f"killed-{number}", chance.randint(1, 900_000), chance.choice(FAULTS)) for number in range(count)]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    grown = Tree(tmp_path / "data", workers=2)
    yield grown
    grown.end()


async def import_all(tree: Tree, payments: list[Payment]) -> None:
    at = rfc3339(utc_now())
    lines = "\n".join(json.dumps(payment.body(at)) for payment in payments)
    headers = {"authorization": f"Bearer {tree.token(Role.operator)}", "content-type": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=ANSWER_SECONDS_MAX) as http:
        answer = await http.post("/v1/payments/import", content=lines, headers=headers)
    assert answer.json() | {"errors": []} == {"accepted": len(payments), "duplicates": 0, "rejected": 0, "errors": []}, answer.text


async def ask_all(client: Client, payments: list[Payment], chance: random.Random) -> None:
    """Every refund at a moment of its own, at most `CALLERS` at a time."""
    gate = asyncio.Semaphore(CALLERS)

    async def one(payment: Payment, delay: float) -> None:
        await asyncio.sleep(delay)
        async with gate:
            await client.requested(payment)

    async with asyncio.TaskGroup() as group:
        for payment in payments:
            group.create_task(one(payment, chance.uniform(0, ASKING_SECONDS)))


async def kill_on_schedule(tree: Tree, chance: random.Random) -> None:
    """Six workers, the service once, the service with its database twice, in an order and at moments drawn from the seed."""
    what = ["worker"] * 6 + ["service"] + ["service and database"] * 2
    chance.shuffle(what)
    for victim in what:
        await asyncio.sleep(chance.uniform(0.3, 3.5))
        say(f"kill -9 of {victim}")
        if victim == "worker":
            tree.kill_worker(chance.randrange(100))
        else:
            tree.kill_all(database=victim == "service and database")
            await asyncio.to_thread(tree.start)
            say("ready again")


async def settled(url: str, count: int) -> None:
    """Wait until every payment is refunded, and no job is left but the questions of the days after."""
    deadline = time.monotonic() + SETTLED_SECONDS_MAX
    connection = await asyncpg.connect(url, ssl=False)
    try:
        while True:
            states = dict(await connection.fetch("select state, count(*) from payment group by state"))
            jobs = await connection.fetchval("select count(*) from job where kind <> 'recheck'")  # those come in the days after
            say(f"{states}, {jobs} jobs")
            if states == {"refunded": count} and not jobs:
                return
            stuck = await connection.fetch(
                "select l.state, l.provider_reference, l.attempts, j.* from leg l left join job j"
                " on j.subject_id = l.id where l.state <> 'succeeded' limit 10"
            )
            assert time.monotonic() < deadline, [dict(row) for row in stuck]
            await asyncio.sleep(1)
    finally:
        await connection.close()


async def moved(tree: Tree) -> dict[str, list[tuple[str, int]]]:
    """What the rail's own ledger says, by payment."""
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX) as http:
        headers = {"authorization": f"Bearer {tree.token(Role.auditor)}"}
        address = (await http.get(f"{tree.url}/v1/meta", headers=headers)).json()["sandbox_url"]
        data = (await http.get(f"{address}/sandbox/movements")).json()["data"]
    found: dict[str, list[tuple[str, int]]] = {}
    for movement in data:
        found.setdefault(movement["payment_reference"], []).append((movement["kind"], movement["amount"]))
    return found


async def acknowledged_in_vain(url: str, client: Client) -> list[str]:
    """Acknowledged cancellations that are not there, or not completed."""
    connection = await asyncpg.connect(url, ssl=False)
    try:
        rows = await connection.fetch("select id from cancellation where state = 'completed'")
    finally:
        await connection.close()
    done = {ids.public("can", row["id"]) for row in rows}
    return [one for one in client.acknowledged.values() if one not in done]


def assert_evidence(tree: Tree, tmp_path: Path) -> None:
    checked = tree.run("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    file = str(tmp_path / "records.ndjson")
    exported = tree.run("export", "-o", file)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    verified = tree.run("verify", file)
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def test_a_thousand_refunds_under_kill_9(tree: Tree, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    payments = made(chance, REFUNDS)
    await asyncio.to_thread(tree.start)
    say("ready")
    await import_all(tree, payments)
    say("imported")
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=10, limits=limits) as http:
        client = Client(http, tree.token(Role.wallet))
        async with asyncio.TaskGroup() as group:
            group.create_task(kill_on_schedule(tree, random.Random(SEED + 1)))
            group.create_task(ask_all(client, payments, chance))
    say(f"all {len(client.acknowledged)} acknowledged; repeated: {dict(client.repeated)}")
    assert sum(client.repeated.values()) > 0, "the kills were felt"

    await settled(tree.database_url(), REFUNDS)

    assert await moved(tree) == {payment.reference: [("refund", payment.amount)] for payment in payments}
    assert len(client.acknowledged) == REFUNDS
    assert await acknowledged_in_vain(tree.database_url(), client) == []
    await asyncio.to_thread(assert_evidence, tree, tmp_path)
    say("evidence verified")


async def test_in_doubt_import_is_repeated(tree: Tree) -> None:
    """The service dies in the middle of an import; the same file again registers what was missing, and nothing twice."""
    payments = made(random.Random(SEED + 2), 2_000)
    await asyncio.to_thread(tree.start)
    at = rfc3339(utc_now())
    lines = "\n".join(json.dumps(payment.body(at)) for payment in payments)
    headers = {"authorization": f"Bearer {tree.token(Role.operator)}", "content-type": "application/x-ndjson"}

    async with httpx.AsyncClient(base_url=tree.url, trust_env=False, timeout=ANSWER_SECONDS_MAX) as http:
        importing = asyncio.create_task(http.post("/v1/payments/import", content=lines, headers=headers))
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await some_registered(tree.database_url())
        tree.kill_all(database=True)
        with suppress(httpx.HTTPError):
            await importing
        await asyncio.to_thread(tree.start)
        answer = (await http.post("/v1/payments/import", content=lines, headers=headers)).json()

    assert answer["duplicates"] > 0, "the first attempt was not in vain"
    assert (answer["accepted"] + answer["duplicates"], answer["rejected"]) == (len(payments), 0)
    checked = await asyncio.to_thread(tree.run, "check")
    assert checked.returncode == 0, checked.stdout


async def some_registered(url: str) -> None:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        while await connection.fetchval("select count(*) from payment") < 200:
            await asyncio.sleep(0.01)
    finally:
        await connection.close()
