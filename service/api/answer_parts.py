"""The parts that several representations share, for the OpenAPI document."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from workflows.domain.enums import Anchor, EarnedKind, PaymentFailure, Source

FREE_TEXT: Final = "For those who decide; null for others, where there is none, and once erased."

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", json_schema_extra={"format": "date-time"})]
PaymentId = Annotated[str, Field(pattern=r"^pay_[0-9a-f]{32}$")]
CancellationId = Annotated[str, Field(pattern=r"^can_[0-9a-f]{32}$")]
RefundId = Annotated[str, Field(pattern=r"^rfd_[0-9a-f]{32}$")]
LegId = Annotated[str, Field(pattern=r"^leg_[0-9a-f]{32}$")]
RecordId = Annotated[str, Field(pattern=r"^rec_[0-9a-f]{32}$")]
Sum = Annotated[int, Field(ge=0)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Form(BaseModel):
    """All members are always there; what is not known is null."""

    model_config = ConfigDict(extra="forbid")


class FundingForm(Form):
    source: Source
    amount: int
    provider: str
    provider_reference: str
    funder: str | None


class ItemForm(Form):
    reference: str
    name: str | None = Field(description="Null once erased.")
    quantity: int
    amount: int


class EarnedForm(Form):
    kind: EarnedKind
    amount: int
    provider: str
    provider_reference: str


class AdviceForm(Form):
    action: str
    message: str


class NextStepForm(AdviceForm):
    contact: str | None = None


class FailureForm(Form):
    code: PaymentFailure
    message: str = Field(description="What happened, for the customer.")
    next_steps: list[AdviceForm] = Field(description="What the customer can do about it.")
    detail: str | None = Field(description="Null where none was given, or once erased.")


class WindowForm(Form):
    anchor: Anchor | None = Field(description="The moment from which it counts.")
    opens_at: Time | None
    closes_at: Time | None = Field(description="The first moment at which it is closed.")


class EtaForm(Form):
    earliest: Time
    latest: Time
    basis: str = Field(description="How we know.")


class Times(Form):
    version: int = Field(description="Grows with every change; the ETag.")
    created_at: Time
    updated_at: Time
