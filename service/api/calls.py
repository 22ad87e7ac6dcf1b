"""One request being answered: who asks, in which language, and the order in which everything about it is checked."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.api import answers
from service.api.i18n import Language, language
from service.api.problems import problem_for
from service.api.queries import Query, read_query
from service.api.reading import JSON_TYPE, Inbound
from service.api.rights import Operation
from service.keys import EvidenceKey
from service.security import Authenticator, Principal
from service.settings import Settings
from workflows.clock_and_ids import new_id
from workflows.domain import ids
from workflows.domain.changes import Change, Context
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import ActorRole, Channel, Role
from workflows.domain.errors import Forbidden, InvalidState, NotFound, VersionMismatch
from workflows.domain.model import Actor, IdempotentResponse, Snapshot
from workflows.flows.execute_leg import Rails
from workflows.run import Command, Idempotency, Replied, Runner
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store

B = TypeVar("B", bound=BaseModel)
Q = TypeVar("Q", bound=Query)

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the resources are answered with."""

    settings: Settings
    runner: Runner
    reads: Any  # the pool for reads that may lag: the replica's, or the database's own
    authenticator: Authenticator
    rails: Rails
    evidence: EvidenceKey

    @property
    def store(self) -> Store:
        return self.runner.runtime.store


class Call:
    """A request whose caller is known and may make it."""

    def __init__(self, request: Request, services: Services, operation: Operation, principal: Principal | None) -> None:
        self.request = request
        self.services = services
        self.operation = operation
        self._principal = principal
        self.language: Language = language(request.headers.get("accept-language"))
        self.trace_id = trace_id(request)

    @property
    def principal(self) -> Principal:
        """Who calls; only operations without rights have nobody."""
        if self._principal is None:
            raise Forbidden
        return self._principal

    @property
    def store(self) -> Store:
        return self.services.store

    def now(self) -> datetime:
        return self.services.runner.runtime.clock()

    def actor(self, channel: Channel | None = None) -> Actor:
        """The caller as the records name it. Who names no channel: a wallet speaks by its app, a merchant as merchant; an agent speaks
        for a customer on the line, or acts on the service's own behalf where the step is not the customer's.
        """
        principal = self.principal
        match principal.role:
            case Role.merchant:
                usual = Channel.merchant
            case Role.wallet:
                usual = Channel.app
            case Role.agent | Role.supervisor if Role.wallet in (self.operation.roles or ()):
                usual = Channel.hotline
            case _:
                usual = Channel.system
        return Actor(role=ActorRole(principal.role.value), id=principal.sub, channel=channel or usual)

    def owns(self, snapshot: Snapshot) -> bool:
        """Object by object: a merchant knows its own payments only."""
        principal = self.principal
        return principal.role is not Role.merchant or snapshot.payment.merchant_id == principal.merchant_id

    def merchant_only(self, asked: str | None) -> tuple[str | None, bool]:
        """The merchant to filter by, and whether anything can be found at all: a merchant's lists hold its own."""
        principal = self.principal
        if principal.role is not Role.merchant:
            return asked, True
        return principal.merchant_id, asked in {None, principal.merchant_id}

    def path_id(self, prefix: ids.Prefix, name: str) -> UUID:
        found = ids.parse(prefix, self.request.path_params[name])
        if found is None:
            raise NotFound
        return found

    def query(self, model: type[Q]) -> Q:
        return read_query(self.request.scope["query_string"], model)

    async def snapshot(self, payment_id: UUID, **wanted: Any) -> Snapshot:
        """The payment, for reading. Raises NotFound for somebody else's too."""
        found = await self.store.load(SnapshotQuery(payment_id=payment_id, **wanted))
        if found is None or not self.owns(found):
            raise NotFound
        return found

    async def payment_of_cancellation(self, cancellation_id: UUID) -> UUID:
        found = await self.store.payment_of_cancellation(cancellation_id)
        if found is None:
            raise NotFound
        return found

    def json(self, answer: answers.Answer, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return Response(answers.to_json(answer), status, headers, media_type=JSON_TYPE)

    async def command(self, inbound: Inbound[B], doing: "Doing[B]") -> Response:
        """Run a command in the promised order of checks, and answer with its reply: this one, or the one that was kept."""
        key = inbound.key
        caller = self.principal.sub
        wanted = replace(doing.wanted, caller=caller, key=key)

        def reply(snapshot: Snapshot, terms: PolicyContext, changed: bool) -> IdempotentResponse:
            status, answer, headers = doing.answer(snapshot, terms, changed)
            return IdempotentResponse(
                fingerprint=inbound.fingerprint,
                status=status,
                body=answers.to_json(answer),
                headers={"content-type": JSON_TYPE, "content-language": self.language.value, **headers},
            )

        def refuse(error: Exception, before: Snapshot, terms: PolicyContext) -> IdempotentResponse:
            if isinstance(error, InvalidState):
                error.available_actions = doing.actions(before)
            return self._refusal(error, terms, inbound.fingerprint)

        def decide(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change | None:
            return doing.decide(snapshot, inbound.checked(), terms, context)

        def version(snapshot: Snapshot) -> None:
            if not doing.repeated(snapshot):
                _check_version(inbound.if_match, doing.version(snapshot))

        replied = await self.services.runner.run(
            Command(
                wanted=wanted,
                actor=lambda: self.actor(doing.channel),
                request_id=self.trace_id,
                visible=self.owns,
                check=lambda: _discard(inbound.checked()),
                version=version,
                decide=decide,
                reply=reply,
                refuse=refuse,
                idempotency=None if key is None else Idempotency(caller, key, inbound.fingerprint),
            )
        )
        return _response(replied)

    def _refusal(self, error: Exception, terms: PolicyContext, fingerprint: str) -> IdempotentResponse:
        """The problem that a refusal of the domain is, to be kept. Raises the error again where it is none."""
        told = problem_for(
            error,
            language=self.language,
            instance=instance(self.request),
            trace_id=self.trace_id,
            zone=terms.policy.zone,
            principal=self._principal,
        )
        if told is None:
            raise error
        return IdempotentResponse(fingerprint=fingerprint, status=told.status, body=told.body, headers=told.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing(Generic[B]):
    """What is particular to one command."""

    wanted: SnapshotQuery
    decide: Callable[[Snapshot, B, PolicyContext, Context], Change | None]
    answer: Callable[[Snapshot, PolicyContext, bool], tuple[int, answers.Answer, dict[str, str]]]
    version: Callable[[Snapshot], int]  # of the resource that If-Match speaks of
    actions: Callable[[Snapshot], tuple[str, ...]]  # what the state allows instead, where it does not allow this
    channel: Channel | None = None
    repeated: Callable[[Snapshot], bool] = lambda _: False  # known by the caller's own name: no version is asked for then


def trace_id(request: Request) -> str:
    """The trace that the caller is in (W3C Trace Context), or a new one."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found else new_id().hex


def instance(request: Request) -> str:
    """The path as a URI reference. Not `request.url`, which is put together from the Host header, and may be no URL at all."""
    return quote(str(request.scope["path"]), errors="replace")


def raw_json_list(texts: list[str], next_cursor: str | None) -> bytes:
    """A page of what is JSON already."""
    return f'{{"data":[{",".join(texts)}],"next_cursor":{json.dumps(next_cursor)}}}'.encode()


def _response(replied: Replied) -> Response:
    reply = replied.reply
    headers = {**reply.headers, "idempotent-replayed": "true"} if replied.replayed else reply.headers
    return Response(reply.body, reply.status, headers)


def _check_version(expected: int | None, current: int) -> None:
    if expected is not None and expected != current:
        raise VersionMismatch(current)


def _discard(_: object) -> None:
    """Only the exception mattered."""
