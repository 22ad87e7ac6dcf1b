"""A short guided tour, against a running service: refunds, a lost answer, hand-offs, silence, a refusal, and a chain of records."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Column, Table

from service import settings
from service.auth.keys import load_or_create_keys
from service.terminal.demo import hand_offs, persons, silence
from service.terminal.demo.tour import MERCHANT, Json, Tour
from service.terminal.failure import UserError
from service.up_addresses import service_url
from workflows.domain.enums import Role

_SOON = timedelta(minutes=2)


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
            run(Tour(client, load_or_create_keys(read.data_dir), console))
    except httpx.HTTPError:
        console.print(f"No service is ready at {url}. Start one with `make run`, and call this again.", style="red")
        raise SystemExit(1) from None
    except UserError as why:
        console.print(str(why), style="red", markup=False, emoji=False)
        raise SystemExit(1) from None


def run(tour: Tour) -> None:
    """All chapters."""
    payment = _change_of_mind(tour)
    _lost_answer(tour)
    hand_offs.accepted(tour)
    hand_offs.less_offered(tour)
    hand_offs.declined_and_escalated(tour)
    persons.goods_first(tour)
    silence.silent(tour)
    persons.three_persons(tour)
    hand_offs.withdrawn(tour)
    _refused(tour)
    _on_record(tour, payment)


def _change_of_mind(tour: Tour) -> Json:
    tour.chapter("A change of mind, two minutes after paying")
    payment = tour.payment(age=_SOON)
    tour.line("", tour.call("GET", f"/v1/payments/{payment['id']}/eligibility")["message"])
    tour.follow(tour.requested(payment))
    return payment


def _lost_answer(tour: Tour) -> None:
    tour.chapter("The rail pays, and its answer is lost")
    lost = tour.payment(age=_SOON, provider_reference="timeout_after_effect,drop_notification")
    tour.follow(tour.requested(lost))
    rail = tour.call("GET", "/v1/meta")["sandbox_url"]
    moved = httpx.get(f"{rail}/sandbox/movements", params={"payment_reference": lost["reference"]}, trust_env=False).json()["data"]
    tour.console.print(f"   The rail's own ledger shows [bold]{len(moved)}[/bold] movement.")


def _refused(tour: Tour) -> None:
    tour.chapter("A month later: policy says no, and says what next, and where")
    shop = {"name": "Sunny Shop", "contact": {"email": "help@sunny.example", "url": "https://sunny.example/help"}}
    tour.call("PUT", f"/v1/merchants/{MERCHANT}", shop, role=Role.operator)
    refused = tour.requested(tour.payment(age=timedelta(days=30)))
    tour.console.print(Panel(f"{refused['message']}\n" + "\n".join(f"→ {step['message']}" for step in refused["next_steps"]), expand=False))


def _on_record(tour: Tour, payment: Json) -> None:
    tour.chapter("What is on record of the first")
    table = Table("no.", Column("what", no_wrap=True), Column("who", no_wrap=True), "from", "to", "hash")
    for record in tour.records(payment):
        actor = f"{record['actor']['role']} {record['actor']['id']}"
        table.add_row(str(record["sequence"]), record["type"], actor, record["from_state"], record["to_state"], record["hash"][:8])
    tour.console.print(table)


if __name__ == "__main__":
    typer.run(main)
