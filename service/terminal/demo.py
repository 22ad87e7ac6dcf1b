"""A short guided tour, against a running service: one refund, one lost answer, one hand-off, one refusal, one chain of records."""

import secrets
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Column, Table

from service import settings
from service.auth.keys import LocalKeys, load_or_create_keys
from service.terminal.failure import UserError
from service.up_addresses import service_url
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role
from workflows.domain.times import rfc3339

WAIT_SECONDS_MAX = 60


class _Tour:
    def __init__(self, client: httpx.Client, keys: LocalKeys, console: Console) -> None:
        self.client = client
        self.console = console
        self._tokens = {
            role: keys.sign_token(sub=f"demo-{role}", role=role, ttl_seconds=600, now=utc_now()) for role in (Role.wallet, Role.agent)
        }

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, role: Role = Role.wallet) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._tokens[role]}", "idempotency-key": secrets.token_hex(8)}
        answer = self.client.request(method, path, json=body, headers=headers)
        told: dict[str, Any] = answer.json()
        if answer.status_code >= 500 or answer.status_code in {401, 403}:
            raise UserError(f"The service answered {answer.status_code}: {told.get('detail')}")
        return told

    def payment(self, *, age: timedelta, provider_reference: str = "ok") -> dict[str, Any]:
        funding = {"source": "balance", "amount": 4200, "provider": "sandbox", "provider_reference": provider_reference}
        return self.call(
            "POST",
            "/v1/payments",
            {
                "reference": f"tour-{secrets.token_hex(6)}",
                "wallet_id": "wallet-1",
                "merchant_id": "demo-merchant",
                "amount": 4200,
                "currency": "CNY",
                "funding": [funding],
                "completed_at": rfc3339(utc_now() - age),
            },
        )

    def requested(self, payment: dict[str, Any]) -> dict[str, Any]:
        return self.call("POST", f"/v1/payments/{payment['id']}/cancellations", {"reason": "changed_mind"})

    def follow(self, cancellation: dict[str, Any]) -> dict[str, Any]:
        """Wait until the money is back, and say each state of its leg on the way."""
        seen = None
        for _ in range(WAIT_SECONDS_MAX * 10):
            now = self.call("GET", f"/v1/cancellations/{cancellation['id']}")
            leg = now["refund"]["legs"][0]
            if leg["state"] != seen:
                seen = leg["state"]
                self.console.print(f"   leg [bold]{seen}[/bold]  {now['message']}")
            if now["state"] != "executing":
                return now
            time.sleep(0.1)
        raise UserError("The refund did not arrive within a minute. Is a worker running?")

    def chapter(self, title: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{title}", align="left")


def main(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Where `refundry up` keeps what it knows (REFUNDRY_DATA_DIR).")] = None,
) -> None:
    """A short guided tour, against the service that `refundry up` runs."""
    console = Console()
    read = settings.load(data_dir=data)
    url = service_url(read)
    try:
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
            client.get("/readyz").raise_for_status()
            _tour(_Tour(client, load_or_create_keys(read.data_dir), console))
    except httpx.HTTPError:
        console.print(f"No service is ready at {url}. Start one with `make run`, and call this again.", style="red")
        raise SystemExit(1) from None
    except UserError as why:
        console.print(str(why), style="red")
        raise SystemExit(1) from None


def _tour(tour: _Tour) -> None:
    console = tour.console
    tour.chapter("1. A change of mind, two minutes after paying")
    payment = tour.payment(age=timedelta(minutes=2))
    may = tour.call("GET", f"/v1/payments/{payment['id']}/eligibility")
    console.print(f"   {may['message']}")
    tour.follow(tour.requested(payment))

    tour.chapter("2. The rail pays, and its answer is lost")
    lost = tour.payment(age=timedelta(minutes=2), provider_reference="timeout_after_effect,drop_notification")
    tour.follow(tour.requested(lost))
    rail = tour.call("GET", "/v1/meta")["sandbox_url"]
    moved = httpx.get(f"{rail}/sandbox/movements", params={"payment_reference": lost["reference"]}, trust_env=False).json()["data"]
    console.print(f"   The rail's own ledger shows [bold]{len(moved)}[/bold] movement.")

    tour.chapter("3. Three days later: the merchant is asked")
    later = tour.requested(tour.payment(age=timedelta(days=3)))
    console.print(f"   {later['state']}  {later['message']}")
    withdrawn = tour.call("POST", f"/v1/cancellations/{later['id']}/withdraw", {})
    console.print(f"   {withdrawn['state']}  {withdrawn['message']}")

    tour.chapter("4. A month later: policy says no, and says what next")
    refused = tour.requested(tour.payment(age=timedelta(days=30)))
    console.print(Panel(f"{refused['message']}\n" + "\n".join(f"→ {step['message']}" for step in refused["next_steps"]), expand=False))

    tour.chapter("5. What is on record of the first")
    table = Table("no.", Column("what", no_wrap=True), Column("who", no_wrap=True), "from", "to", "hash")
    for record in tour.call("GET", f"/v1/payments/{payment['id']}/records")["data"]:
        actor = f"{record['actor']['role']} {record['actor']['id']}"
        table.add_row(str(record["sequence"]), record["type"], actor, record["from_state"], record["to_state"], record["hash"][:8])
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
