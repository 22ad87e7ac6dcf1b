"""From bodies to what a decision takes: no moment far ahead, no currency of the past, no rail that is not set up."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from service.api import conversion
from service.api.models import decisions, payments
from service.api.models.cancellations import EligibilityQuery, RequestCancellation
from service.api.problems import RequestProblem
from service.auth.tokens import Principal
from tests.factories import WALLET
from tests.unit.service.api.bodies import PAYMENT
from workflows.domain.decisions.payments import PaymentDetails
from workflows.domain.enums import ActorRole, Channel, Role
from workflows.domain.errors import Invalid
from workflows.domain.faults import Fault, FaultCode

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_a_moment_may_be_five_minutes_ahead_and_no_more() -> None:
    def body(name: str, at: datetime) -> payments.RegisterPayment:
        return payments.RegisterPayment.model_validate_json(json.dumps({**PAYMENT, name: at.isoformat()}))

    for name in ("completed_at", "authorised_at", "shipped_at", "delivered_at"):
        assert conversion.check_times(body(name, NOW + timedelta(minutes=5)), NOW) == []
        late = body(name, NOW + timedelta(minutes=5, microseconds=1))
        assert conversion.check_times(late, NOW) == [Fault(f"/{name}", FaultCode.in_future)]


def test_the_time_of_a_fulfilment_and_of_a_settlement_is_checked_too() -> None:
    shipped = payments.ChangeFulfilment.model_validate_json('{"status":"shipped","at":"2027-01-01T00:00:00Z"}')
    settled = payments.CompletePayment.model_validate_json('{"completed_at":"2027-01-01T00:00:00Z"}')

    assert [found.pointer for found in conversion.check_times(shipped, NOW)] == ["/at"]
    assert [found.pointer for found in conversion.check_times(settled, NOW)] == ["/completed_at"]
    assert conversion.check_times(decisions.Withdraw(), NOW) == []


def details(**members: object) -> PaymentDetails:
    body = payments.RegisterPayment.model_validate_json(json.dumps({**PAYMENT, **members}))
    return conversion.payment_details(body, providers={"sandbox", "wallet"}, now=NOW)


def faults(**members: object) -> list[Fault]:
    with pytest.raises(RequestProblem) as refused:
        details(**members)
    found = refused.value.members["errors"]
    assert isinstance(found, list)
    return found


def test_a_currency_counts_as_of_the_authorisation_else_the_settlement_else_now() -> None:
    before, since = "2022-12-01T00:00:00Z", "2023-02-01T00:00:00Z"

    assert details(currency="HRK", authorised_at=before, completed_at=since).currency == "HRK"
    assert details(currency="HRK", completed_at=before).currency == "HRK"
    for told in ({"authorised_at": since}, {"completed_at": since}, {}):
        assert faults(currency="HRK", **told) == [Fault("/currency", FaultCode.currency_withdrawn)], told


def test_a_rail_that_is_not_set_up_is_named_by_its_source() -> None:
    sources = [{"source": "card", "amount": 500, "provider": name, "provider_reference": "r"} for name in ("wallet", "strange")]

    assert faults(funding=sources) == [Fault("/funding/1/provider", FaultCode.unknown_provider, {"allowed": ("sandbox", "wallet")})]


def test_what_is_left_out_stays_unknown_and_is_not_empty() -> None:
    left_out, empty = details(), details(items=[])

    assert (left_out.funding, left_out.items, left_out.item_names, left_out.earned) == (None, None, None, None)
    assert (empty.items, empty.item_names) == ((), ())


def test_a_client_reference_stands_for_what_is_asked_and_not_for_how_it_is_explained() -> None:
    def fingerprint(channel: Channel = Channel.app, **members: object) -> str | None:
        body = RequestCancellation.model_validate_json(json.dumps({"reason": "damaged", "amount": 5, **members}))
        return conversion.cancellation_request(body, replace(WALLET, channel=channel)).fingerprint

    explained = fingerprint(note="a", expected_refundable=5, verification={"method": "otp", "reference": "v"}, client_reference="c")
    override = {"justification": "j", "ticket": "T-1"}
    others = [
        fingerprint(amount=6),
        fingerprint(reason="duplicate"),
        fingerprint(Channel.chat),
        fingerprint(override=override),
        fingerprint(override={**override, "ticket": "T-2"}),
    ]

    assert explained == fingerprint()
    assert fingerprint(override={**override, "justification": "k"}) == fingerprint(override=override)
    assert len({fingerprint(), *others}) == 1 + len(others)


def test_eligibility_is_asked_by_an_auditor_as_the_customer_and_by_an_agent_over_the_hotline() -> None:
    def asked(role: Role, **members: object) -> tuple[ActorRole, Channel]:
        actor = conversion.cancellation_wish(EligibilityQuery.model_validate(members), Principal("x", role, None, NOW)).actor
        return actor.role, actor.channel

    assert asked(Role.auditor) == (ActorRole.wallet, Channel.app)
    assert asked(Role.agent) == (ActorRole.agent, Channel.hotline)
    assert asked(Role.agent, channel="chat") == (ActorRole.agent, Channel.chat)
    assert asked(Role.supervisor, **{"as": "customer"}) == (ActorRole.wallet, Channel.app)
    assert asked(Role.merchant) == (ActorRole.merchant, Channel.merchant)
    with pytest.raises(Invalid):
        asked(Role.agent, channel="app")
