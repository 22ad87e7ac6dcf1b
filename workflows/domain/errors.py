"""The refusals, as one exception tree.

    RefundryError
    ├─ Refused                      the request was understood, and the answer is no; kept under its idempotency key
    │  ├─ InvalidState              the state allows no such step
    │  ├─ CancellationOpen          one open cancellation per payment
    │  ├─ PaymentDisputed
    │  ├─ WalletFrozen
    │  ├─ PaymentReferenceConflict
    │  ├─ ClientReferenceConflict
    │  ├─ PolicyRefused             and the refusal itself is on record
    │  ├─ AmountExceedsRefundable
    │  ├─ CurrencyMismatch
    │  └─ PartialNotSupported
    ├─ NotFound
    ├─ Forbidden
    ├─ SecondApproverRequired       another person must approve
    ├─ AgentLimitReached            one of ours has asked for as much as policy allows within 24 hours
    ├─ TooManyRequests              of one caller for one payment within 24 hours; not even put on record
    ├─ SimulationRunning            one at a time in a process
    ├─ TermsBusy                    too many wait for terms that have to be worked out
    ├─ PolicyVersionConflict        published already, with another content
    ├─ VersionMismatch              the caller looked at an older version
    ├─ RefundableAmountChanged
    ├─ Invalid                      a value in the request that only the payment's own facts could disprove
    ├─ IdempotencyKeyReused
    ├─ IdempotencyInFlight
    ├─ LeaseLost                    another worker took the job over; write nothing
    ├─ Unavailable                  the database is away or too busy; whether anything was done, the same request again tells
    └─ Overloaded                   too much is asked at once; nothing was done

They carry data, not sentences, and know nothing of HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from workflows.domain.agent_limits import AgentLimit
from workflows.domain.enums import Anchor, Refusal
from workflows.domain.faults import Fault, FaultCode, FaultMember


class Window(Struct, frozen=True):
    """A half-open span of time, open at `opens_at`, closed at `closes_at`; None means without that end."""

    anchor: Anchor | None
    opens_at: datetime | None
    closes_at: datetime | None


class RefundryError(Exception):
    """Everything that this service refuses or cannot do."""


class Refused(RefundryError):
    """Understood, and the answer is no."""


@dataclass
class InvalidState(Refused):
    state: str
    available_actions: tuple[str, ...] = ()


@dataclass
class CancellationOpen(Refused):
    cancellation_id: UUID


class PaymentDisputed(Refused):
    pass


class WalletFrozen(Refused):
    pass


class PaymentReferenceConflict(Refused):
    pass


class ClientReferenceConflict(Refused):
    pass


@dataclass
class PolicyRefused(Refused):
    refusal: Refusal
    rule: str | None
    policy_version: str
    window: Window | None
    next_steps: tuple[str, ...]
    cancellation_id: UUID | None


@dataclass
class AmountExceedsRefundable(Refused):
    amount_refundable: int


class CurrencyMismatch(Refused):
    pass


class PartialNotSupported(Refused):
    pass


class NotFound(RefundryError):
    pass


class Forbidden(RefundryError):
    pass


class SecondApproverRequired(RefundryError):
    pass


@dataclass
class AgentLimitReached(RefundryError):
    limit: AgentLimit
    retry_after_seconds: int
    alone: bool = False  # this one amount is more than the limit: waiting does not help


@dataclass
class TooManyRequests(RefundryError):
    """More requests of one caller for one payment within 24 hours than anybody has a reason for."""

    retry_after_seconds: int


@dataclass
class TermsBusy(RefundryError):
    """Too many different terms are being worked out in this process."""

    retry_after_seconds: int = 1


@dataclass
class SimulationRunning(RefundryError):
    """Another simulation is running in this process."""

    retry_after_seconds: int = 5


@dataclass
class VersionMismatch(RefundryError):
    current_version: int


@dataclass
class RefundableAmountChanged(RefundryError):
    amount_refundable: int


class PolicyVersionConflict(RefundryError):
    """The version is published already, with another content."""


class Invalid(RefundryError):
    """`pointer` is an RFC 6901 pointer into the request's body; `members` are those that the code's sentence needs."""

    def __init__(self, pointer: str, code: FaultCode, **members: FaultMember) -> None:
        self.fault = Fault(pointer, code, members)
        super().__init__(str(self.fault))

    @property
    def pointer(self) -> str:
        return self.fault.pointer

    @property
    def code(self) -> FaultCode:
        return self.fault.code

    @property
    def members(self) -> Mapping[str, FaultMember]:
        return self.fault.members


class IdempotencyKeyReused(RefundryError):
    pass


class IdempotencyInFlight(RefundryError):
    pass


class LeaseLost(RefundryError):
    pass


class Unavailable(RefundryError):
    pass


@dataclass
class Overloaded(RefundryError):
    """More is asked of this process than it can do. Nothing was begun."""

    retry_after_seconds: int = 1
