"""Every table, constraint and index, and who may do what to it: the schema's only truth, with which the migrations are compared.

A table is one file, or a part of its family's: columns, constraints, indexes, the application's rights and what nobody may do.

All rows of a payment carry its id first in their primary key, so that they lie on one shard. What must never happen is a named
constraint here; what must never happen twice is a unique index.
"""

from sqlmodel import SQLModel

from workflows.storage.tables.anomalies import AnomalyRow, AnomalyStepRow
from workflows.storage.tables.cancellations import PERSONS_DIFFER, CancellationRow
from workflows.storage.tables.legs import LegRow
from workflows.storage.tables.merchants import MerchantRow
from workflows.storage.tables.payments import QUANTITIES_WITHIN_ITEMS, SHARES_WITHIN_FUNDING, PaymentRow
from workflows.storage.tables.policies import PolicyRow
from workflows.storage.tables.records import RecordRow
from workflows.storage.tables.replies import IdempotentResponseRow
from workflows.storage.tables.texts import PersonalTextRow
from workflows.storage.tables.work import JobRow, NotificationRow, WorkerRow

__all__ = [
    "FUNCTIONS",
    "AnomalyRow",
    "AnomalyStepRow",
    "CancellationRow",
    "IdempotentResponseRow",
    "JobRow",
    "LegRow",
    "MerchantRow",
    "NotificationRow",
    "PaymentRow",
    "PersonalTextRow",
    "PolicyRow",
    "RecordRow",
    "WorkerRow",
    "metadata",
]

metadata = SQLModel.metadata
# What CHECKs call, by name; the application may execute them.
FUNCTIONS = {
    "shares_within_funding": SHARES_WITHIN_FUNDING,
    "quantities_within_items": QUANTITIES_WITHIN_ITEMS,
    "persons_differ": PERSONS_DIFFER,
}
