"""A service that keeps the promises a replay relies on, and breaks them where a test wants it to."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workflows.domain import ids
from workflows.domain.money import line_amount

Verdict = Callable[[str], str]  # client_reference -> automatic | merchant | refuse | stuck


class FakeService:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.payments: dict[str, dict[str, Any]] = {}
        self.cancellations: dict[str, dict[str, Any]] = {}
        self.taken: dict[str, Counter[str]] = {}
        self.kept: dict[str, tuple[int, dict[str, Any]]] = {}
        self.looks: Counter[str] = Counter()
        self.effects = 0
        self.pay_too_little = False
        self.app = Starlette(
            routes=[
                Route("/v1/meta", self.meta),
                Route("/v1/payments/import", self.import_, methods=["POST"]),
                Route("/v1/payments/{id}", self.payment),
                Route("/v1/payments/{id}/cancellations", self.request, methods=["POST"]),
                Route("/v1/cancellations/{id}", self.cancellation),
                Route("/v1/cancellations/{id}/withdraw", self.withdraw, methods=["POST"]),
            ]
        )

    async def meta(self, _: Request) -> Response:
        return JSONResponse({"name": "fake"})

    async def import_(self, request: Request) -> Response:
        counts: Counter[str] = Counter()
        errors: list[dict[str, Any]] = []
        for number, line in enumerate((await request.body()).splitlines(), 1):
            try:
                body = json.loads(line)
                id_ = ids.public("pay", ids.payment_id(body["reference"]))
            except (ValueError, KeyError):
                errors.append({"line": number, "code": "malformed-request", "detail": "Must be JSON."})
                continue
            counts["duplicates" if id_ in self.payments else "accepted"] += 1
            fresh = {**body, "id": id_, "state": "completed", "amount_refunded": 0, "amount_reserved": 0}
            self.payments.setdefault(id_, fresh)
            self.taken.setdefault(id_, Counter())
        return JSONResponse({"accepted": counts["accepted"], "duplicates": counts["duplicates"], "rejected": len(errors), "errors": errors})

    async def payment(self, request: Request) -> Response:
        found = self.payments.get(request.path_params["id"])
        return JSONResponse({"code": "not-found"}, 404) if found is None else JSONResponse(found)

    async def request(self, request: Request) -> Response:
        body, key = await request.json(), f"{request.path_params['id']} {request.headers['idempotency-key']}"
        if key not in self.kept:
            self.effects += 1
            self.kept[key] = self._decide(self.payments[request.path_params["id"]], body)
        status, answer = self.kept[key]
        return JSONResponse(answer, status)

    async def cancellation(self, request: Request) -> Response:
        found = self.cancellations[request.path_params["id"]]
        self.looks[found["id"]] += 1
        if found["state"] == "executing" and self.looks[found["id"]] >= 2 and found["route"] == "automatic":
            self._pay(found)
        return JSONResponse(found)

    async def withdraw(self, request: Request) -> Response:
        found = self.cancellations[request.path_params["id"]]
        found["state"] = "withdrawn"
        payment = self.payments[found["payment_id"]]
        payment |= {"state": "completed", "amount_reserved": 0}
        self.taken[payment["id"]] -= found["pieces"]
        return JSONResponse({key: value for key, value in found.items() if key != "pieces"})

    def _decide(self, payment: dict[str, Any], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if payment["state"] == "refunded":
            return 409, {"code": "invalid-state", "detail": "It is over."}
        verdict = self.verdict(body["client_reference"])
        if verdict == "refuse":
            return 422, {"code": "policy-refused", "rule": "ask-the-merchant", "refusal": "window-closed", "detail": "Too late."}
        pieces: Counter[str] = Counter()
        amount = payment["amount"] - payment["amount_refunded"]
        if "items" in body:
            pieces = Counter({item["reference"]: item["quantity"] for item in body["items"]})
            amount = sum(self._worth(payment, reference, quantity) for reference, quantity in pieces.items())
            if amount < 0:
                return 422, {"code": "amount-exceeds-refundable", "detail": "Too much."}
        self.taken[payment["id"]] += pieces
        id_ = f"can_{len(self.cancellations):032x}"
        waits = verdict == "merchant"
        made = {
            "id": id_,
            "payment_id": payment["id"],
            "state": "awaiting_merchant" if waits else "executing",
            "route": verdict,
            "amount": amount,
            "pieces": pieces,
            "decision": {"rule": "second-thoughts"},
            "created_at": "2026-11-22T10:00:00.000000Z",
            "updated_at": "2026-11-22T10:00:00.250000Z",
        }
        self.cancellations[id_] = made
        payment |= {"state": "cancel_requested" if waits else "refunding", "amount_reserved": amount}
        return 201, dict(made)

    def _worth(self, payment: dict[str, Any], reference: str, quantity: int) -> int:
        line = next(item for item in payment["items"] if item["reference"] == reference)
        before = self.taken[payment["id"]][reference]
        if before + quantity > line["quantity"]:
            return -(10**9)
        after = line_amount(line["amount"], line["quantity"], before + quantity)
        return after - line_amount(line["amount"], line["quantity"], before)

    def _pay(self, cancellation: dict[str, Any]) -> None:
        payment = self.payments[cancellation["payment_id"]]
        cancellation["state"] = "completed"
        payment["amount_refunded"] += cancellation["amount"] - (1 if self.pay_too_little else 0)
        payment["amount_reserved"] = 0
        payment["state"] = "refunded" if payment["amount_refunded"] == payment["amount"] else "completed"


class Shaky(httpx.AsyncBaseTransport):
    """Loses the answer of the first request to each address of which `loses` holds, after its effect."""

    def __init__(self, inner: httpx.AsyncBaseTransport, loses: Callable[[httpx.Request], bool]) -> None:
        self.inner = inner
        self.loses = loses
        self.lost: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        where = f"{request.method} {request.url.path}"
        if self.loses(request) and where not in self.lost:
            self.lost.add(where)
            raise httpx.ReadError("the line broke")
        return response
