"""Real orders, cancelled piece by piece as their customers did, come out to the last penny."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from tests import ROOT
from tests.harness import Api, Json

FOLDER = ROOT.parent / "shared" / "data" / "online-retail"
AT_LEAST = 6  # partial cancellations of one payment
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the orders are not part of this repository: expected at {FOLDER.name}")


def lines(name: str) -> Iterator[Json]:
    with gzip.open(FOLDER / name, "rt") as file:
        yield from map(json.loads, file)


@pytest.fixture(scope="module")
def orders() -> list[tuple[Json, list[Json]]]:
    """The payments with the most cancellations, those whose lines cannot be divided evenly among them."""
    wishes: dict[str, list[Json]] = defaultdict(list)
    for wish in lines("cancellations.ndjson.gz"):
        wishes[wish["payment_reference"]].append(wish)
    often = {reference: found for reference, found in wishes.items() if len(found) >= AT_LEAST}
    return [(payment, often[payment["reference"]]) for payment in lines("payments.ndjson.gz") if payment["reference"] in often]


@pytest.mark.slow
async def test_up_to_eight_cancellations_of_a_real_order_sum_to_the_penny(api: Api, orders: list[tuple[Json, list[Json]]]) -> None:
    assert max(len(wishes) for _, wishes in orders) == 8
    for order, wishes in orders:
        payment = await api.register(**{**order, "authorised_at": None, "completed_at": api.clock.ago(days=200)})
        refunded, pieces = 0, dict.fromkeys([item["reference"] for item in order["items"]], 0)
        for wish in sorted(wishes, key=lambda one: str(one["requested_at"])):
            asked = await api.requested(payment, items=wish["items"], role="merchant", merchant=order["merchant_id"])
            assert asked.status_code == 201, asked.text
            await api.worker.drain()
            refunded += asked.json()["amount"]
            for item in wish["items"]:
                pieces[item["reference"]] += item["quantity"]
            assert (await api.payment(payment))["amount_refunded"] == refunded == worth(order, pieces)

        moved = await api.movements(payment)
        assert sum(one["amount"] for one in moved) == refunded
        assert len(moved) == len(wishes)


def worth(order: dict[str, Any], pieces: dict[str, int]) -> int:
    """Each line's exact share for the pieces given back, rounded half up."""
    shares = (Fraction(item["amount"] * pieces[item["reference"]], item["quantity"]) for item in order["items"])
    return sum(int(share + Fraction(1, 2)) for share in shares)
