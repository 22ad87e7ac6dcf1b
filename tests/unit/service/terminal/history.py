"""A history for tests: payments and cancellations in a folder's two files."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOW = datetime(2026, 11, 22, 14, 0, 0, 999, tzinfo=UTC)


def payment(reference: str, at: str = "2010-12-01T08:26:00Z", **more: Any) -> dict[str, Any]:
    items = [{"reference": "A", "name": "a", "quantity": 3, "amount": 100}, {"reference": "B", "name": "b", "quantity": 1, "amount": 50}]
    moments = {"completed_at": at, "authorised_at": at}
    return {
        "reference": reference,
        "wallet_id": "w",
        "merchant_id": "m",
        "amount": 150,
        "currency": "GBP",
        "items": items,
        **moments,
        **more,
    }


def cancellation(reference: str, invoice: str, lag: int = 600, pieces: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    items = [{"reference": line, "quantity": quantity} for line, quantity in (pieces or {"A": 1}).items()]
    at = f"2010-12-02T00:{len(invoice):02d}:00Z"
    return {
        "invoice": invoice,
        "payment_reference": reference,
        "requested_at": at,
        "lag_seconds": lag,
        "items": items,
        "whole": False,
        **more,
    }


def write(folder: Path, payments: list[dict[str, Any]], cancellations: list[dict[str, Any]]) -> Path:
    for name, lines in (("payments", payments), ("cancellations", cancellations)):
        with gzip.open(folder / f"{name}.ndjson.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder


FOLDER_PAYMENTS = [payment("p-0"), payment("p-1"), payment("p-2", "2010-12-03T08:26:00Z"), payment("p-3"), payment("p-4")]
FOLDER_CANCELLATIONS = [
    cancellation("p-0", "C1", pieces={"A": 1}),
    cancellation("p-0", "C22", 700, pieces={"A": 2, "B": 1}),  # with C1, all of it
    cancellation("p-1", "M1"),  # the merchant decides
    cancellation("p-1", "C333", 900, pieces={"A": 1}),
    cancellation("p-3", "R1", 2_000_000),
    cancellation("p-4", "C4", pieces={"A": 3, "B": 1}, whole=True),
    cancellation("p-4", "C55", pieces={"A": 1}),  # after all of it went back
]
