"""The form of each operation: what its body, its query and its answer are made of."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api import answer_models as answers
from service.api import answer_parts, bodies, decision_bodies, queries
from service.api.reading import JSON_TYPE, NDJSON_TYPE
from service.api.schemas import Body

TEXT_TYPE: Final = "text/plain"
HTML_TYPE: Final = "text/html"
CSV_TYPE: Final = "text/csv"

_READ: Final = (200,)
_MADE_OR_FOUND: Final = (201, 200)


class PolicyAnswer(BaseModel):
    """One published version of the policy; it never changes again."""

    model_config = ConfigDict(extra="forbid")

    policy: dict[str, Any] = Field(description="The policy as data: its version, its rules, its deadlines.")
    published_at: answer_parts.Time
    published_by: str = Field(description="A pseudonym.")


class PolicyEntry(BaseModel):
    """One of the published versions."""

    model_config = ConfigDict(extra="forbid")

    version: str
    effective_from: answer_parts.Time = Field(description="Payments authorised from then on are decided by it.")
    published_at: answer_parts.Time
    published_by: str = Field(description="A pseudonym.")


class HealthAnswer(BaseModel):
    """The process is alive."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok"]


class ReadyAnswer(BaseModel):
    """Whether the process can serve, and what it looked at."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok", "unavailable"]
    checks: dict[str, Literal["ok", "failed"]] = Field(description="By name: the database, its migrations, a worker's sign of life.")


class NotificationAnswer(BaseModel):
    """The word is stored; it is acted on afterwards."""

    model_config = ConfigDict(extra="forbid")


class DocumentAnswer(BaseModel):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`body` is None for calls without one and for those that read their body themselves; `answer` is None for what is not JSON."""

    body: type[Body] | None = None
    query: type[queries.Query] = queries.NoQuery
    answer: type[BaseModel] | None = None
    statuses: tuple[int, ...] = _READ  # of success; 201 where something is made
    media_types: tuple[str, ...] = (JSON_TYPE,)  # of success
    etag: bool = False  # the answer carries its version
    body_type: str | None = JSON_TYPE  # of the body, where there is one


def _page(entry: type[BaseModel], query: type[queries.Query]) -> Form:
    page: type[BaseModel] = answers.Page[entry]  # type: ignore[valid-type]  # a generic model is made of a class at run time
    return Form(query=query, answer=page)


def _step(body: type[Body], answer: type[BaseModel]) -> Form:
    return Form(body=body, answer=answer, etag=True)


FORMS: Final[dict[str, Form]] = {
    "register_payment": Form(body=bodies.RegisterPayment, answer=answers.PaymentAnswer, statuses=_MADE_OR_FOUND, etag=True),
    "import_payments": Form(answer=answers.ImportAnswer, body_type=NDJSON_TYPE),
    "get_payment": Form(answer=answers.PaymentAnswer, etag=True),
    "list_payments": _page(answers.PaymentAnswer, queries.ListPayments),
    "complete_payment": _step(bodies.CompletePayment, answers.PaymentAnswer),
    "fail_payment": _step(bodies.FailPayment, answers.PaymentAnswer),
    "modify_payment": _step(bodies.ModifyPayment, answers.PaymentAnswer),
    "change_fulfilment": _step(bodies.ChangeFulfilment, answers.PaymentAnswer),
    "get_eligibility": Form(query=queries.Eligibility, answer=answers.EligibilityAnswer),
    "list_payment_records": _page(answers.RecordAnswer, queries.ListPaymentRecords),
    "request_cancellation": Form(body=bodies.RequestCancellation, answer=answers.CancellationAnswer, statuses=_MADE_OR_FOUND, etag=True),
    "get_cancellation": Form(answer=answers.CancellationAnswer, etag=True),
    "list_cancellations": _page(answers.CancellationAnswer, queries.ListCancellations),
    "withdraw_cancellation": _step(decision_bodies.Withdraw, answers.CancellationAnswer),
    "escalate_cancellation": _step(decision_bodies.Escalate, answers.CancellationAnswer),
    "decide_hand_off": _step(decision_bodies.DecideHandOff, answers.CancellationAnswer),
    "respond_to_offer": _step(decision_bodies.RespondToOffer, answers.CancellationAnswer),
    "ship_return": _step(decision_bodies.ShipReturn, answers.CancellationAnswer),
    "receive_return": _step(decision_bodies.ReceiveReturn, answers.CancellationAnswer),
    "assign_cancellation": _step(decision_bodies.Assign, answers.CancellationAnswer),
    "approve_cancellation": _step(decision_bodies.Approve, answers.CancellationAnswer),
    "deny_cancellation": _step(decision_bodies.Deny, answers.CancellationAnswer),
    "get_refund": Form(answer=answers.RefundAnswer),
    "list_refunds": _page(answers.RefundAnswer, queries.ListRefunds),
    "search_records": _page(answers.RecordAnswer, queries.SearchRecords),
    "export_records": Form(query=queries.ExportRecords, media_types=(NDJSON_TYPE, CSV_TYPE)),
    "list_policies": Form(answer=answers.Page[PolicyEntry]),
    "get_policy": Form(answer=PolicyAnswer),
    "meta": Form(answer=answers.MetaAnswer),
    "log_key": Form(media_types=(TEXT_TYPE,)),
    "provider_notifications": Form(answer=NotificationAnswer),
    "healthz": Form(answer=HealthAnswer),
    "readyz": Form(answer=ReadyAnswer),
    "metrics": Form(media_types=(TEXT_TYPE,)),
    "list_problems": Form(media_types=(HTML_TYPE,)),
    "get_problem": Form(media_types=(HTML_TYPE,)),
    "openapi": Form(answer=DocumentAnswer),
    "docs": Form(media_types=(HTML_TYPE,)),
}
