"""The request bodies of decisions: what a merchant, a customer or an agent may say about a cancellation."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from service.api.models.base import LegId
from service.api.types import (
    STOPS_AT_FIRST_FAULT,
    Amount,
    Body,
    CustomerChannel,
    Digest,
    Label,
    Line,
    Note,
    Optionally,
    Pseudonym,
    ReasonCode,
    problem,
)
from workflows.domain.enums import MerchantDecision, ReturnCondition
from workflows.domain.faults import FaultCode

EVIDENCE_MAX = 20


class CustomersStepBody(Body):
    """A step that is the customer's to take, whoever takes it for them."""

    channel: Optionally[CustomerChannel] = Field(
        None, description="Where the customer spoke; `app` for a wallet, `hotline` for an agent unless told. An agent's is never `app`."
    )


class Withdraw(CustomersStepBody):
    """The customer takes the wish back."""

    model_config = ConfigDict(json_schema_extra={"example": {}})


class Escalate(CustomersStepBody):
    """The customer asks for an agent."""

    model_config = ConfigDict(json_schema_extra={"example": {}})


class EvidenceBody(Body):
    """A document that the merchant keeps, and can show later: its digest stands in the record."""

    name: Line = Field(description="What a person calls it. Kept apart, so that it can be erased.")
    sha256: Digest = Field(description="SHA-256 of its bytes, in lowercase hex.")


class DecideHandOff(Body):
    """The merchant's answer to a hand-off."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"decision": "offer", "amount": 5000, "reason_code": "used", "note": "the box was opened"}}
    )

    decision: MerchantDecision = Field(description="Yes, yes once the goods are back, less than that, or no.")
    amount: Optionally[Amount] = Field(None, description="Of an offer: less than what was asked for, in minor units.")
    reason_code: Optionally[ReasonCode] = Field(None, description="Why, as one word of the merchant's own vocabulary.")
    note: Optionally[Note] = Field(None, description="More, for those who decide. Kept apart, so that it can be erased.")
    evidence: Optionally[Annotated[tuple[EvidenceBody, ...], Field(max_length=EVIDENCE_MAX), STOPS_AT_FIRST_FAULT]] = Field(
        None, description="Documents that bear the answer out."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        offers = self.decision is MerchantDecision.offer
        if offers and self.amount is None:
            raise problem(FaultCode.required_when, "/amount", member="decision", value="offer")
        if not offers and self.amount is not None:
            raise problem(FaultCode.allowed_only_when, "/amount", member="decision", value="offer")
        return self


class RespondToOffer(CustomersStepBody):
    """The customer's word on the merchant's offer."""

    model_config = ConfigDict(json_schema_extra={"example": {"accept": True}})

    accept: bool = Field(description="True takes it; false hands the cancellation back to the merchant.")


class ShipReturn(CustomersStepBody):
    """The goods are on their way back."""

    model_config = ConfigDict(json_schema_extra={"example": {"carrier": "sf-express", "tracking_number": "SF1000"}})

    carrier: Label = Field(description="Who carries the goods: a company. It stands in records.")
    tracking_number: Label = Field(description="The carrier's number. Kept apart, so that it can be erased.")


class ReceiveReturn(Body):
    """What the merchant found in the parcel."""

    model_config = ConfigDict(json_schema_extra={"example": {"condition": "intact"}})

    condition: ReturnCondition = Field(description="Intact is paid; damaged or missing goods are an agent's matter.")
    note: Optionally[Note] = Field(None, description="More, for a person. Kept apart, so that it can be erased.")


class Assign(Body):
    """Whose case it is."""

    model_config = ConfigDict(json_schema_extra={"example": {"to": "agent-7"}})

    to: Optionally[Pseudonym] = Field(None, description="A colleague: a pseudonym, the `sub` of their token. The caller unless told.")


class TakeNext(Body):
    """The caller takes the next case: there is nothing to say."""

    model_config = ConfigDict(json_schema_extra={"example": {}})


class Approve(Body):
    """Yes."""

    model_config = ConfigDict(json_schema_extra={"example": {"note": "the customer showed the receipt"}})

    note: Optionally[Note] = Field(None, description="Why. Kept apart, so that it can be erased.")


class Deny(Body):
    """No, and why."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason_code": "no_proof", "note": "the receipt is of another shop"}})

    reason_code: ReasonCode = Field(description="Why, as one word.")
    note: Note = Field(description="Why, for a person. Kept apart, so that it can be erased.")


class Recover(Body):
    """What a person does about a refund that is stuck."""

    model_config = ConfigDict(json_schema_extra={"example": {"note": "the customer has a new card"}})

    note: Optionally[Note] = Field(None, description="Why. Kept apart, so that it can be erased.")


class Retry(Recover):
    """Once more, to where it was to go."""


class Close(Recover):
    """What did not arrive is given up."""


class Redirect(Recover):
    """To the balance of the customer's wallet."""

    model_config = ConfigDict(json_schema_extra={"example": {"destination": "balance", "consent": True}})

    destination: Literal["balance"] = Field(description="Where the money is to go instead.")
    consent: bool = Field(description="True: the customer has agreed to that. It is on record, with the channel.")
    channel: Optionally[CustomerChannel] = Field(None, description="Where the customer agreed; `hotline` unless told. Never `app`.")

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        if not self.consent:
            raise problem(FaultCode.unknown_value, "/consent", allowed=("true",))
        return self


class RecordOutcome(Body):
    """What stands in the rail's own books."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "leg_id": "leg_0198f2a7c1d27a3b8c4d5e6f708192a3",
                "outcome": "failed",
                "note": "the rail's dashboard has it as rejected",
            }
        }
    )

    leg_id: LegId = Field(description="Which part.")
    outcome: Literal["succeeded", "failed"] = Field(description="Paid, or never to be paid.")
    note: Note = Field(description="Where it was read, for a person. Kept apart, so that it can be erased.")
    provider_refund_id: Optionally[Label] = Field(None, description="The rail's name for the movement.")
    rail_reference: Optionally[Label] = Field(None, description="What the customer's bank can search for.")
