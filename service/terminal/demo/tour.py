"""A tour's calls to the running service, and its lines on the terminal."""

import secrets
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table

from service.auth.keys import LocalKeys
from service.terminal.failure import UserError
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role
from workflows.domain.times import rfc3339

Json = dict[str, Any]

WAIT_SECONDS_MAX = 60
AMOUNT = 4200
MERCHANT = "demo-merchant"
_TOKEN_SECONDS = 600
_STATE_WIDTH = 25
_LOOK_SECONDS = 0.1
_REFUSED = "policy-refused"  # an answer that the tour shows; every other problem ends it


class Tour:
    """The calls of everybody who has a part in it."""

    def __init__(self, client: httpx.Client, keys: LocalKeys, console: Console) -> None:
        self.client = client
        self.console = console
        self._chapters = 0
        self._told = ""
        self._keys = keys

    def call(
        self, method: str, path: str, body: Json | None = None, *, role: Role = Role.wallet, sub: str | None = None, language: str = "en"
    ) -> Json:
        """The answer. Raises UserError where it is no. `sub`: who of that role."""
        token = self._keys.sign_token(
            sub=sub or f"demo-{role}",
            role=role,
            merchant_id=MERCHANT if role is Role.merchant else None,
            ttl_seconds=_TOKEN_SECONDS,
            now=utc_now(),
        )
        headers = {
            "authorization": f"Bearer {token}",
            "idempotency-key": secrets.token_hex(8),
            "accept-language": language,
        }
        answer = self.client.request(method, path, json=body, headers=headers)
        told: Json = answer.json()
        if answer.status_code >= 400 and told.get("code") != _REFUSED:
            raise UserError(f"The service answered {answer.status_code} to {method} {path}: {told.get('detail')} {told.get('errors', '')}")
        return told

    def payment(self, *, age: timedelta, merchant_id: str = MERCHANT, provider_reference: str = "ok", amount: int = AMOUNT) -> Json:
        funding = {"source": "balance", "amount": amount, "provider": "sandbox", "provider_reference": provider_reference}
        return self.call(
            "POST",
            "/v1/payments",
            {
                "reference": f"tour-{secrets.token_hex(6)}",
                "wallet_id": "wallet-1",
                "merchant_id": merchant_id,
                "amount": amount,
                "currency": "CNY",
                "funding": [funding],
                "completed_at": rfc3339(utc_now() - age),
            },
        )

    def requested(self, payment: Json) -> Json:
        return self.call("POST", f"/v1/payments/{payment['id']}/cancellations", {"reason": "changed_mind"})

    def step(self, cancellation: Json, name: str, body: Json | None = None, *, role: Role = Role.wallet, sub: str | None = None) -> Json:
        """One step on a cancellation, and what the customer is told then."""
        after = self.call("POST", f"/v1/cancellations/{cancellation['id']}/{name}", body or {}, role=role, sub=sub)
        self.tell(after)
        return after

    def read(self, cancellation: Json, *, language: str = "en") -> Json:
        return self.call("GET", f"/v1/cancellations/{cancellation['id']}", language=language)

    def records(self, payment: Json) -> list[Json]:
        """The first page: no payment of the tour has more."""
        found: list[Json] = self.call("GET", f"/v1/payments/{payment['id']}/records?limit=200")["data"]
        return found

    def follow(self, cancellation: Json) -> Json:
        """Wait until the money is back, and say each state of its leg on the way."""
        seen = None
        for _ in range(int(WAIT_SECONDS_MAX / _LOOK_SECONDS)):
            now = self.read(cancellation)
            leg = now["refund"]["legs"][0]
            if leg["state"] != seen:
                seen = leg["state"]
                self.line(f"leg {seen}", now["message"])
            if now["state"] != "executing":
                return now
            time.sleep(_LOOK_SECONDS)
        raise UserError("The refund did not arrive within a minute. Is a worker running?")

    def tell(self, cancellation: Json) -> None:
        self.line(cancellation["state"], cancellation["message"])

    def tell_in_chinese(self, cancellation: Json) -> None:
        self.line("", self.read(cancellation, language="zh-CN")["message"])

    def line(self, state: str, message: str) -> None:
        """A state beside what the customer is told then; not twice the same."""
        row = Table.grid(Column(width=3), Column(width=_STATE_WIDTH, no_wrap=True, style="bold"), Column(overflow="fold"))
        row.add_row("", state, "" if message == self._told else message)
        self.console.print(row)
        self._told = message

    def say(self, text: str) -> None:
        self.console.print(Padding(text, (0, 0, 0, 3)), style="dim")

    def chapter(self, title: str) -> None:
        self._chapters += 1
        self._told = ""
        self.console.print()
        self.console.rule(f"[bold]{self._chapters}. {title}", align="left")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
