"""Bodies for tests, and what is found wrong with them."""

import json
from typing import Any

from pydantic import ValidationError

from service.api.field_errors import body_errors
from service.api.i18n import Language, fault_message
from service.api.models import cancellations, decisions, payments
from service.api.types import Body

MODELS: tuple[type[Body], ...] = (
    payments.RegisterPayment,
    payments.CompletePayment,
    payments.FailPayment,
    payments.ModifyPayment,
    payments.ChangeFulfilment,
    cancellations.RequestCancellation,
    decisions.Withdraw,
)

EXAMPLES: dict[type[Body], dict[str, Any]] = {model: model.model_json_schema()["example"] for model in MODELS}
PAYMENT: dict[str, Any] = {"reference": "r-1", "wallet_id": "w", "merchant_id": "m", "amount": 1000, "currency": "CNY"}


def errors_of(model: type[Body], body: Any) -> dict[str, str]:
    """The findings by pointer; empty where the body is taken."""
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        return {fault.pointer: fault_message(fault, Language.en) for fault in body_errors(error, value, model)}
    return {}


def payment_with(**members: Any) -> dict[str, str]:
    return errors_of(payments.RegisterPayment, {**PAYMENT, **members})


def lines(*amounts: int) -> list[dict[str, object]]:
    return [{"reference": f"line {n}", "name": "n", "quantity": 1, "amount": amount} for n, amount in enumerate(amounts)]
