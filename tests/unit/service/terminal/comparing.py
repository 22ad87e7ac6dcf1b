"""A history for tests, and what it comes to under policies."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.terminal.replay_offline import Assumptions, Comparison, compare, read_policies

NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
TWO = ["cn-wallet", "us-wallet"]


def payment(reference: str, **more: Any) -> dict[str, Any]:
    paid = {"completed_at": "2010-12-01T02:00:00Z"}  # ten in the morning in Shanghai, the evening before in New York
    items = [{"reference": "A", "name": "a", "quantity": 3, "amount": 100}, {"reference": "B", "name": "b", "quantity": 1, "amount": 50}]
    whose = {"reference": reference, "wallet_id": "w", "merchant_id": "m"}
    return {**whose, "amount": 150, "currency": "GBP", "items": items, **paid, **more}


def cancellation(reference: str, invoice: str, at: str, pieces: dict[str, int] | None = None, *, whole: bool = False) -> dict[str, Any]:
    items = [{"reference": line, "quantity": quantity} for line, quantity in (pieces or {"A": 1}).items()]
    asked = {"invoice": invoice, "payment_reference": reference, "requested_at": at, "lag_seconds": 1}
    return {**asked, "items": items, "whole": whole}


PAYMENTS = [payment(f"p-{number}") for number in range(6)]
CANCELLATIONS = [
    cancellation("p-0", "C1", "2010-12-01T16:14:59Z"),  # 00:14:59 in Shanghai
    cancellation("p-0", "C2", "2010-12-01T16:15:00Z", {"A": 2}),  # a second later: the merchant's, but less than a minute after
    cancellation("p-1", "C3", "2010-12-02T02:00:00Z"),  # being prepared
    cancellation("p-1", "C4", "2010-12-11T15:59:59Z"),  # the seventh day after the fourth, in Shanghai
    cancellation("p-5", "C5", "2010-12-11T16:00:00Z"),
    cancellation("p-2", "C6", "2010-12-01T03:00:00Z", {"A": 3, "B": 1}, whole=True),
    cancellation("p-2", "C7", "2010-12-01T04:00:00Z"),
    cancellation("p-3", "C8", "2010-12-01T03:00:00Z", {"A": 4}),
    cancellation("p-4", "C9", "2011-12-01T03:00:00Z"),
    cancellation("nobody's", "C10", "2010-12-01T03:00:00Z"),
]


def compared(folder: Path, names: list[str], *, limit: int | None = None, **assumed: Any) -> Comparison:
    return compare(folder, read_policies(names), Assumptions(**assumed), now=NOW, limit=limit, advance=lambda _: None)
