"""Records: which are searched and exported, and how they are shown."""

from typing import Any, Self

from pydantic import Field, model_validator

from service.api.models.base import Hash, Out, PaymentId, PseudonymText, RecordId, Time
from service.api.queries import CURSOR_TEXT, ExportFormat, Flag, PageQuery, PaymentRecordsCursor, RecordsCursor, SpanQuery
from service.api.types import Line, Pseudonym, problem
from workflows.domain.enums import ActorRole, Channel, PaymentState
from workflows.domain.faults import FaultCode
from workflows.domain.record_types import RecordType


class SearchRecords(PageQuery, SpanQuery):
    """Which records, newest first."""

    cursor: RecordsCursor | None = Field(None, description=CURSOR_TEXT)
    type: RecordType | None = Field(None, description="What happened.")
    payment_id: PaymentId | None = Field(None, description="The payment.")
    merchant_id: Pseudonym | None = Field(None, description="The payment's merchant.")
    actor: Line | None = Field(None, description="Who did it: the actor's id.")

    def filters(self) -> dict[str, Any]:
        return {name: value for name, value in self if name not in ("limit", "cursor")}


class ListPaymentRecords(PageQuery):
    """A payment's records, oldest first."""

    cursor: PaymentRecordsCursor | None = Field(None, description=CURSOR_TEXT)


class ExportRecords(SpanQuery):
    """Which records to export."""

    format: ExportFormat = Field(ExportFormat.ndjson, description="One JSON object a line, with a signed trailer; or CSV.")
    merchant_id: Pseudonym | None = Field(None, description="Only this merchant's.")
    bom: Flag = Field(False, description="CSV only: begin with a byte order mark, by which Excel knows UTF-8.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.bom and self.format != "csv":
            raise problem(FaultCode.allowed_only_when, "/bom", member="format", value="csv")
        return self


class ActorOut(Out):
    """Who acted, and by which channel."""

    role: ActorRole
    id: PseudonymText
    channel: Channel


class RecordOut(Out):
    """One entry of an audit trail; never changed, never removed."""

    id: RecordId
    chain: str = Field(description="The payment's id, `wallet:<id>`, or `service`.")
    payment_id: PaymentId | None = Field(description="Null for records of a wallet or of the service.")
    sequence: int = Field(ge=1, description="From 1, without a gap.")
    type: str = Field(description="What happened. New types may be added.", examples=["payment.registered"])
    occurred_at: Time = Field(description="When it happened.")
    actor: ActorOut
    from_state: PaymentState | None = Field(description="The payment's state before.")
    to_state: PaymentState | None = Field(description="The payment's state after.")
    amount: int | None = Field(description="In the currency's minor unit.", examples=[13912])
    currency: str | None = Field(description="ISO 4217.", examples=["CNY"])
    data: dict[str, object] = Field(description="What the step decided or learnt.", examples=[{"policy_version": "2026-11-a"}])
    request_id: str | None = Field(description="The `Request-Id` of the call that did it.", examples=["0af7651916cd43dd8448eb211c80319c"])
    previous_hash: Hash = Field(description="64 zeros for the first of its chain.")
    hash: Hash = Field(description="SHA-256 of byte 0x00 and the RFC 8785 form of the record without `hash` and `log_index`.")
    log_index: int | None = Field(None, description="Its place in the log, once the log has taken it in.")
