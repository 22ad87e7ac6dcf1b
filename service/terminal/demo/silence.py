"""The tour's chapter on a merchant who stays silent: a policy gives him a few seconds, and then decides."""

import time
from datetime import timedelta
from itertools import count

from service.terminal.demo.tour import WAIT_SECONDS_MAX, Json, Tour, moment
from service.terminal.failure import UserError
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role
from workflows.domain.times import rfc3339

MERCHANT = "demo-silent-merchant"
RULE: Json = {
    "name": "silent-merchant-of-the-tour",
    "when": {"state": ["completed"], "merchant_id": [MERCHANT]},
    "route": "merchant",
    "merchant_deadline": {"length": "8 seconds", "then": "accept"},
}
_SUFFIX = ".demo"
_VERSION_LENGTH_MAX = 64
_LOOK_SECONDS = 0.2


def silent(tour: Tour) -> None:
    tour.chapter("The merchant stays silent, and the policy decides")
    version = policy_with_rule(tour)
    tour.say(f"By {version}, {MERCHANT} has {RULE['merchant_deadline']['length']}; then the answer is yes.")
    payment = tour.payment(age=timedelta(0), merchant_id=MERCHANT)
    _watch(tour, payment, tour.requested(payment))


def policy_with_rule(tour: Tour) -> str:
    """The version in force, with the tour's rule on top: found, or published now."""
    policies = tour.call("GET", "/v1/policies")["data"]  # newest first
    now = rfc3339(utc_now())
    in_force = max(
        (one for one in policies if one["effective_from"] <= now), key=lambda one: str(one["effective_from"]), default=policies[-1]
    )
    document: Json = tour.call("GET", f"/v1/policies/{in_force['version']}")["policy"]
    if RULE["name"] in {rule["name"] for rule in document["rules"]}:
        tour.say(f"The policy {in_force['version']} is there from an earlier tour.")
        return str(in_force["version"])
    version = _free_name(in_force["version"], {one["version"] for one in policies})
    named = {**document, "version": version, "effective_from": now, "rules": [RULE, *document["rules"]]}
    tour.call("POST", "/v1/policies", named, role=Role.operator)
    tour.say(f"The operator publishes the policy {version}: {in_force['version']} with one rule on top, for this merchant alone.")
    return version


def _free_name(base: str, taken: set[str]) -> str:
    suffixes = (_SUFFIX if number == 1 else f"{_SUFFIX}-{number}" for number in count(1))
    names = (base[: _VERSION_LENGTH_MAX - len(suffix)] + suffix for suffix in suffixes)
    return next(name for name in names if name not in taken)


def _detail(record: Json) -> str:
    """What a record says of the clock."""
    match record["type"]:
        case "cancellation.reminded":
            return f"{record['data']['passed']} of the time is over"
        case "cancellation.handed_off":
            return f"without an answer: {record['data']['then']}"
        case "cancellation.timed_out":
            return str(record["data"]["then"])
        case _:
            return ""


def _watch(tour: Tour, payment: Json, cancellation: Json) -> None:
    """Print each record as it is written, with the seconds since the request, until the money is back."""
    tour.tell(cancellation)
    told, begun = 0, moment(cancellation["created_at"])
    for _ in range(int(WAIT_SECONDS_MAX / _LOOK_SECONDS)):
        records = tour.records(payment)
        for record in records[told:]:
            seconds = (moment(record["occurred_at"]) - begun).total_seconds()
            tour.console.print(f"   {max(seconds, 0):5.1f} s  [bold]{record['type']:<24}[/bold] {_detail(record)}", highlight=False)
        told = len(records)
        current = tour.read(cancellation)
        if current["state"] not in {"awaiting_merchant", "executing"}:
            tour.tell(current)
            return
        time.sleep(_LOOK_SECONDS)
    raise UserError("Nothing was decided within a minute. Is a worker running?")
