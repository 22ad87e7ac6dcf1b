"""What a route is given: who calls, in which language, and what the service has to answer with.

A route names its callers by the type of its first parameter (`ForReaders`, `ForWallet`, …): the roles in it are what the route class
checks before it reads the body, and what the OpenAPI says.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Receive, Scope

from service.api.admission import Admission
from service.api.i18n import language
from service.api.metrics_page import MetricsPage
from service.api.middleware import IS_HEAD, TRACE_ID
from service.auth.keys import EvidenceKey
from service.auth.tokens import Authenticator, Principal
from service.settings import Settings
from workflows.commands import Runner
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Channel, Role
from workflows.domain.errors import Forbidden, NotFound
from workflows.domain.legs import SuccessorRules
from workflows.domain.model import Actor, Payment, Snapshot
from workflows.flows.legs import successor_rules
from workflows.flows.rails import Rails
from workflows.flows.simulate import Simulations
from workflows.flows.tell_terms import TermsAnswers
from workflows.storage.anomalies import FoundAnomaly
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store

CONTEXT: Final = "refundry.context"  # its place in the request's scope
KEY_EXAMPLE: Final = "5f0c8c1e-2f64-4b19-9f4e-0f6f8f0c2a11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What requests are answered with."""

    settings: Settings
    runner: Runner
    reads: Any  # connections for lists and searches, which may lag: to the replica, where there is one
    streams: Any  # those for exports, which take as long as their readers
    admission: Admission
    list_admission: Admission  # for those that read lists, which may be slow
    imports: asyncio.Semaphore  # so many lines of all imports are written at once
    authenticator: Authenticator
    rails: Rails
    evidence: EvidenceKey
    actions: Mapping[str, frozenset[Role]]  # who may take each step that `available_actions` can name, as the routes say
    metrics_page: MetricsPage = field(default_factory=MetricsPage)
    simulations: Simulations = field(default_factory=Simulations)
    terms: TermsAnswers = field(default_factory=TermsAnswers)

    @property
    def store(self) -> Store:
        return self.runner.runtime.store


class RequestContext(Request):
    """A request whose caller is known and may make it: what FastAPI hands to a route as its request.

    `known`: who calls. `language`: in which one to answer. Of a command: `key`, the idempotency key; `fingerprint`, the SHA-256 of what
    is asked, in hex; `if_match`, the versions that the caller accepts, None for any.
    """

    def __init__(self, scope: Scope, receive: Receive, services: Services, roles: frozenset[Role] | None) -> None:
        super().__init__(scope, receive)
        self.services = services
        self.trace_id: str = scope[TRACE_ID]
        self.roles = roles  # who may make this call; None: everybody, without a token
        self.known: Principal | None = None
        self.language = language(self.headers.get("accept-language"))
        self.key: str | None = None
        self.fingerprint = ""
        self.if_match: frozenset[int] | None = None
        self._sent: bytes | None = None
        self._parsed: BaseModel | None = None

    def take_body(self, sent: bytes, parsed: BaseModel) -> None:
        """The body has been read and validated: where FastAPI looks for JSON, it finds the model."""
        self._sent, self._parsed = sent, parsed

    async def body(self) -> bytes:
        return await super().body() if self._sent is None else self._sent

    async def json(self) -> Any:
        return await super().json() if self._parsed is None else self._parsed

    @property
    def principal(self) -> Principal:
        """Who calls; only operations without a token have nobody."""
        if self.known is None:
            raise Forbidden
        return self.known

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def is_head(self) -> bool:
        """Whether only the headers are asked for."""
        return bool(self.scope.get(IS_HEAD))

    def now(self) -> datetime:
        return self.services.runner.runtime.clock()

    async def policy(self, payment: Payment) -> PolicyContext:
        """The policy that is pinned to the payment."""
        return await self.services.runner.runtime.terms(payment)

    def struck(self, snapshot: Snapshot, policy: PolicyContext) -> Snapshot:
        """The snapshot as whoever acts now will find it: with the clocks struck whose time is over."""
        return self.services.runner.runtime.struck(snapshot, policy)

    def actor(self, channel: Channel | None = None) -> Actor:
        """The caller as the records name it. Without a channel: `app` for a wallet, `merchant` for a merchant; for an agent `hotline`
        where the step is the customer's, else `system`.
        """
        principal = self.principal
        match principal.role:
            case Role.merchant:
                usual = Channel.merchant
            case Role.wallet:
                usual = Channel.app
            case Role.agent | Role.supervisor if Role.wallet in (self.roles or ()):
                usual = Channel.hotline
            case _:
                usual = Channel.system
        return Actor(role=ActorRole(principal.role.value), id=principal.sub, channel=channel or usual)

    def successor_rules(self) -> SuccessorRules:
        return successor_rules(self.services.runner.runtime, self.services.rails)

    def owns(self, snapshot: Snapshot) -> bool:
        """Object by object: a merchant knows its own payments only."""
        principal = self.principal
        return principal.role is not Role.merchant or snapshot.payment.merchant_id == principal.merchant_id

    def owns_merchant(self, merchant_id: str) -> bool:
        principal = self.principal
        return principal.role is not Role.merchant or principal.merchant_id == merchant_id

    def merchant_filter(self, asked: str | None) -> tuple[str | None, bool]:
        """The merchant to filter a list by, and whether anything can be found at all: a merchant's lists hold its own payments'."""
        principal = self.principal
        if principal.role is not Role.merchant:
            return asked, True
        return principal.merchant_id, asked in {None, principal.merchant_id}

    def available(self, actions: Iterable[str]) -> list[str]:
        """Of the steps that the state allows, those that this caller may take. Steps without a route are nobody's to take."""
        if self.known is None:
            return []
        return [action for action in actions if self.known.role in self.services.actions.get(action, ())]

    async def snapshot(self, payment_id: UUID, **query: Any) -> Snapshot:
        """The payment, for reading. Raises NotFound for somebody else's too."""
        found = await self.store.load(SnapshotQuery(payment_id=payment_id, **query))
        if found is None or not self.owns(found):
            raise NotFound
        return found

    async def payment_of_cancellation(self, cancellation_id: UUID) -> UUID:
        found = await self.store.payment_of_cancellation(cancellation_id)
        if found is None:
            raise NotFound
        return found

    async def anomaly(self, anomaly_id: UUID) -> FoundAnomaly:
        found = await self.store.load_anomalies([anomaly_id])
        if not found:
            raise NotFound
        return found[0]

    async def parents_of_refund(self, refund_id: UUID) -> tuple[UUID, UUID]:
        """The payment and the cancellation of a refund."""
        found = await self.store.parents_of_refund(refund_id)
        if found is None:
            raise NotFound
        return found


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may call a route, beside the context in its signature.

    `is_command`: it wants an `Idempotency-Key`; where its path names a resource, it takes an `If-Match`.
    """

    roles: frozenset[Role] | None  # None: everybody, without a token
    is_command: bool = False


_REVIEWERS = frozenset({Role.agent, Role.supervisor})
_CUSTOMER_SIDE = _REVIEWERS | {Role.wallet}
_REQUESTERS = _CUSTOMER_SIDE | {Role.merchant}
_READERS = _REQUESTERS | {Role.auditor}  # a merchant: its own
_WALLET = frozenset({Role.wallet})
_MERCHANT = frozenset({Role.merchant})
_OPERATOR = frozenset({Role.operator})

ForAnybody = Annotated[RequestContext, Callers(None)]
ForEveryRole = Annotated[RequestContext, Callers(frozenset(Role))]
ForReaders = Annotated[RequestContext, Callers(_READERS)]
ForWallet = Annotated[RequestContext, Callers(_WALLET)]
ForOperators = Annotated[RequestContext, Callers(_OPERATOR)]
ForImporters = Annotated[RequestContext, Callers(_WALLET | {Role.operator})]
ForStaff = Annotated[RequestContext, Callers(_REVIEWERS | {Role.auditor})]
ForAuditors = Annotated[RequestContext, Callers(frozenset({Role.auditor}))]

WalletStep = Annotated[RequestContext, Callers(_WALLET, is_command=True)]
RequestersStep = Annotated[RequestContext, Callers(_REQUESTERS, is_command=True)]
GoodsStep = Annotated[RequestContext, Callers(_REQUESTERS, is_command=True)]  # agents correct a wrong time, and nothing else
CustomersStep = Annotated[RequestContext, Callers(_CUSTOMER_SIDE, is_command=True)]
MerchantsStep = Annotated[RequestContext, Callers(_MERCHANT, is_command=True)]
SupervisorsStep = Annotated[RequestContext, Callers(frozenset({Role.supervisor}), is_command=True)]
ReviewersStep = Annotated[RequestContext, Callers(_REVIEWERS, is_command=True)]
OperatorsStep = Annotated[RequestContext, Callers(_OPERATOR, is_command=True)]
