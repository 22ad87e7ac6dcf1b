"""Anomalies: which are listed, how one is resolved, and how they are shown."""

from typing import Any

from pydantic import ConfigDict, Field

from service.api.models.base import Actions, AnomalyId, LegId, Out, PaymentId, PseudonymText, Time, Version
from service.api.queries import CURSOR_TEXT, AnomaliesCursor, CreatedQuery
from service.api.types import Body, Note, Provider
from workflows.domain.enums import ActorRole, AnomalyAction, AnomalyKind, AnomalyState


class ListAnomalies(CreatedQuery):
    """Which anomalies, newest first."""

    cursor: AnomaliesCursor | None = Field(None, description=CURSOR_TEXT)
    kind: AnomalyKind | None = Field(None, description="What is odd.")
    payment_id: PaymentId | None = Field(None, description="The payment.")
    provider: Provider | None = Field(None, description="The rail whose word it was.")
    state: AnomalyState | None = Field(None, description="The anomaly's state now.")

    def filters(self) -> dict[str, Any]:
        return {name: value for name, value in self if name not in ("limit", "cursor")}


class ResolveAnomalyBody(Body):
    """What was found out about an anomaly, and what follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "note", "note": "the rail's support confirms a duplicate report"}})

    action: AnomalyAction = Field(description="What to do: one of the anomaly's `available_actions`.")
    note: Note = Field(description="Why, for a person. Kept apart, so that it can be erased.")


class AnomalyStepOut(Out):
    """What a person did about it."""

    action: AnomalyAction
    by: PseudonymText
    role: ActorRole
    at: Time = Field(description="When.")
    note: str | None = Field(description="Why; null once erased, and where another anomaly's refund resolved this one.")


class AnomalyOut(Out):
    """A word of a rail, or of the wallet, that no transition allows."""

    id: AnomalyId
    version: Version
    kind: AnomalyKind = Field(description="What is odd.")
    state: AnomalyState = Field(description="`awaiting_second_approval`: a refund was proposed, and a supervisor must confirm it.")
    payment_id: PaymentId | None = Field(description="Null where the word belongs to no payment that is known.")
    leg_id: LegId | None = Field(description="The leg that it is about; null where it is about none.")
    provider: str | None = Field(description="The rail whose word it was; null where it was the wallet's.", examples=["sandbox"])
    said: str | None = Field(description="What was said, as one word; null where nobody can tell.", examples=["succeed"])
    data: dict[str, object] = Field(
        description="What else was said.", examples=[{"rail_amount": 9999, "rail_currency": "CNY", "position": 0}]
    )
    message: str = Field(
        description="For an agent: what was said, and what can be done.",
        examples=["The provider reported another amount or currency than we sent. Look into it, then resolve it with a note."],
    )
    steps: list[AnomalyStepOut] = Field(description="What people did about it, oldest first.")
    created_at: Time = Field(description="When it was noticed.")
    updated_at: Time = Field(description="When the last step was taken.")
    available_actions: Actions
