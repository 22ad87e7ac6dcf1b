"""The types of the columns: vocabularies as enum types, plain ranges as domains.

PostgreSQL keeps both parsed for as long as a session lasts. A CHECK it reads anew at every statement.
"""

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Integer, LargeBinary, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.sql.operators import OperatorClass
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel

from workflows.domain import enums
from workflows.domain.money import AMOUNT_MAX

Time = DateTime(timezone=True)


class Domain(DOMAIN):
    """A range under a name. A value outside is refused under the name of the range's constraint."""

    operator_classes = OperatorClass.ANY


def _words(vocabulary: type[StrEnum]) -> ENUM:
    name = re.sub(r"(?<!^)([A-Z])", r"_\1", vocabulary.__name__).lower()
    return ENUM(vocabulary, name=name, values_callable=lambda words: [word.value for word in words], metadata=SQLModel.metadata)


def _range(name: str, of: Any, constraint: str, check: str) -> Domain:
    return Domain(name, of, constraint_name=constraint, check=check, metadata=SQLModel.metadata)


PAYMENT_STATE = _words(enums.PaymentState)
PAYMENT_FAILURE = _words(enums.PaymentFailure)
CATEGORY = _words(enums.Category)
FULFILMENT = _words(enums.Fulfilment)
CANCELLATION_STATE = _words(enums.CancellationState)
ROUTE = _words(enums.Route)
REASON = _words(enums.Reason)
CHANNEL = _words(enums.Channel)
ACTOR_ROLE = _words(enums.ActorRole)
REFUSAL = _words(enums.Refusal)
ON_DEADLINE = _words(enums.OnDeadline)
LEG_STATE = _words(enums.LegState)
LEG_KIND = _words(enums.LegKind)
SOURCE = _words(enums.Source)
OUTCOME_SOURCE = _words(enums.OutcomeSource)
JOB_KIND = _words(enums.JobKind)
RECOVERY = _words(enums.Recovery)
ANOMALY_KIND = _words(enums.AnomalyKind)
ANOMALY_ACTION = _words(enums.AnomalyAction)

AMOUNT = _range("amount", BigInteger, "amount_in_range", f"value between 1 and {AMOUNT_MAX}")
AMOUNT_OR_ZERO = _range("amount_or_zero", BigInteger, "amount_not_negative", "value >= 0")
AMOUNTS_OR_ZERO = _range(
    "amounts_or_zero", ARRAY(BigInteger), "amounts_not_negative", "array_position(value, null) is null and 0 <= all (value)"
)
CURRENCY = _range("currency_code", Text, "currency_is_a_code", "value ~ '^[A-Z]{3}$'")
COUNTER = _range("counter", Integer, "counter_not_negative", "value >= 0")
ORDINAL = _range("counted_from_one", Integer, "counts_from_one", "value >= 1")  # versions, and places in a chain
REMINDERS = _range("reminder_count", Integer, "reminders_in_range", "value between 0 and 2")
OFFERS = _range("offer_count", Integer, "offers_at_most_three", "value between 0 and 3")
# Not `sha256`: a cast of that name would stand in the way of the function.
DIGEST = _range("sha256_digest", LargeBinary, "digest_is_sha256", "octet_length(value) = 32")


def parameter_type(column: Column[Any]) -> str:
    """What a statement's parameter for the column is declared as.

    A domain's own type: the column checks the range all the same, and a driver need not ask what the domain is.
    """
    return stored_type(column).compile(_DIALECT)


def stored_type(column: Column[Any]) -> TypeEngine[Any]:
    """The column's type, or what its domain is a range of."""
    return column.type.data_type if isinstance(column.type, DOMAIN) else column.type


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped
