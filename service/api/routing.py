"""The one route class: what every operation has in common, and the order in which a request is checked.

    401, 403                who calls, and whether that role may; nothing of the body has been read
    404                     the path names nothing that this caller may see; told before any fault of the request's form
    413, 415, 400           the body's size, type and JSON (I-JSON, RFC 7493: no name twice, no NaN, UTF-8)
    400                     If-Match, where the operation takes one, then the idempotency key that it wants
    422                     the body's members, then the query's

What a route says of itself is all there is: its roles (the type of its context), its problems, its action words. The OpenAPI,
`available_actions`, `refundry routes` and the tests read it from the routes.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from service.api.context import CONTEXT, Callers, RequestContext, Services
from service.api.fixed_body import FixedResponse
from service.api.invisible import escape_invisible
from service.api.models.base import Page
from service.api.problems import RequestProblem
from service.api.queries import check_query
from service.api.reading import (
    BYTE_ORDER_MARK,
    fingerprint,
    idempotency_key,
    parse_json,
    read_body,
    read_if_match,
    validate,
)
from service.api.route_description import common_problems, declared_problems, is_in_words, openapi_of, responses_of
from service.auth.tokens import TokenFault, Unauthenticated
from workflows.domain.enums import Role
from workflows.domain.errors import Forbidden, NotFound

Json = dict[str, Any]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_LONG_BODY_BYTES: Final = 16 * 1024
_NOTHING: Final = b"{}"  # an absent body says as much as an empty object


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call, as its route declares it."""

    name: str
    method: str
    path: str
    roles: frozenset[Role] | None  # None: no token is asked for
    problems: tuple[str, ...]
    own_problems: tuple[str, ...]  # those that not every operation of its kind has
    actions: dict[str, frozenset[Role]]  # what `available_actions` calls it, and who may take that step
    is_command: bool  # wants an Idempotency-Key
    summary: str
    in_schema: bool = True  # stands in the OpenAPI


def action(*words: str, **by_role: Iterable[Role]) -> Json:
    """For `openapi_extra`: the steps that this operation takes, as `available_actions` names them. By name: for these roles only."""
    return {"x-actions": {**dict.fromkeys(words), **{word: sorted(role.value for role in roles) for word, roles in by_role.items()}}}


class _IdConvertor(Convertor[str]):
    """An id in a path, whatever its form: it is judged after the token. What names a call of the collection is none."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _PaymentConvertor(_IdConvertor):
    regex = "(?!import$)[^/]+"


class _CancellationConvertor(_IdConvertor):
    regex = "(?!next$)[^/]+"


register_url_convertor("payment", _PaymentConvertor())
register_url_convertor("cancellation", _CancellationConvertor())


class ApiRoute(APIRoute):
    """A route of ours. Raises what FastAPI raises; the exception handlers make problems of it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        super().__init__(path, endpoint, **{**declared, "operation_id": endpoint.__name__})
        callers = _callers_of(endpoint)
        self.roles = callers.roles
        self.is_command = callers.is_command
        self.takes_if_match = (self.is_command or self.methods == {"PUT"}) and bool(
            self.dependant.path_params
        )  # a collection has no version
        self.body_model = _body_model(self)
        self.is_admitted = self.roles is not None and not _is_streamed(self)
        self.is_list = self.methods == {"GET"} and _is_page(self.response_model)  # read over connections of its own
        self.own_slugs = tuple(declared_problems(self.responses))
        self.slugs = tuple(dict.fromkeys([*common_problems(self), *self.own_slugs]))
        self.actions = _actions(self)
        self.is_in_words = is_in_words(self.response_model)
        self.responses = responses_of(self)
        self.openapi_extra = openapi_of(self, self.openapi_extra or {})
        self.description += "\n\n" + ("Needs no token." if self.roles is None else f"Roles: {', '.join(sorted(self.roles))}.")

    @property
    def operation(self) -> Operation:
        (method,) = self.methods or {"GET"}
        return Operation(
            name=self.name,
            method=method,
            path=self.path_format,
            roles=self.roles,
            problems=self.slugs,
            own_problems=self.own_slugs,
            actions=self.actions,
            is_command=self.is_command,
            summary=self.summary or "",
            in_schema=self.include_in_schema,
        )

    def get_route_handler(self) -> Handler:
        call = super().get_route_handler()

        async def handle(request: Request) -> Response:
            context = await self._admit(request)
            self._check_path(context)
            sent: bytes | RequestProblem = b""
            if self.body_model is not None:
                try:
                    sent = await read_body(context)  # as slowly as its sender likes: a place is taken afterwards
                except RequestProblem as fault:
                    sent = fault
            if not self.is_admitted:
                return self._finish(context, await self._answer(context, sent, call))
            services = context.services
            async with (services.list_admission if self.is_list else services.admission).place():
                return self._finish(context, await self._answer(context, sent, call))

        return handle

    async def _answer(self, context: RequestContext, sent: bytes | RequestProblem, call: Handler) -> Response:
        try:
            if isinstance(sent, RequestProblem):
                raise sent
            if len(sent) > _LONG_BODY_BYTES:
                await _must_exist(context)  # before the work that such a body makes
            self.read(context, sent)
            return await call(context)
        except (RequestProblem, RequestValidationError):
            await _must_exist(context)  # a payment that is not there is said before a fault of the form
            raise

    async def _admit(self, request: Request) -> RequestContext:
        """Who calls, and whether that role may."""
        services: Services = request.app.state.services
        request.scope[CONTEXT] = context = RequestContext(request.scope, request.receive, services, self.roles)
        if self.roles is not None:
            context.known = await services.authenticator.authenticate(_authorization(context))
            if context.known.role not in self.roles:
                raise Forbidden
        return context

    def _check_path(self, context: RequestContext) -> None:
        """No id of this form, no resource."""
        for one in self.dependant.path_params:
            _, errors = one.validate(context.path_params[one.name], {}, loc=("path", one.name))
            if errors:
                raise NotFound

    def read(self, context: RequestContext, sent: bytes) -> None:
        """The body and the headers of a command, read into the context in the promised order. `sent`: the body's bytes."""
        if self.body_model is None:
            reads_query = self.roles is not None or self.dependant.query_params  # an open call that asks for nothing takes anything
            if reads_query and context.method == "GET":  # what reads its own body asks for this itself
                self._check_query(context)
            return
        raw = (sent or _NOTHING).removeprefix(BYTE_ORDER_MARK)
        value = parse_json(raw)
        if self.takes_if_match:
            context.if_match = read_if_match(context.headers.getlist("if-match"))
        if self.is_command:
            context.key = idempotency_key(context.headers.getlist("idempotency-key"))
        body = validate(raw, value, self.body_model)
        self._check_query(context)
        if self.is_command:
            context.fingerprint = fingerprint(context.method, str(context.scope["path"]), value)
        context.take_body(sent, body)

    def _finish(self, context: RequestContext, response: Response) -> Response:
        """The language of an answer in words; 304 where the caller has this version (RFC 9110, section 13.1.2)."""
        if not isinstance(response, FixedResponse):
            escape_invisible(response)
        headers = response.headers
        if self.is_in_words:
            headers.setdefault("content-language", context.language.value)
            headers.setdefault("vary", "Accept-Language")
        tag = headers.get("etag")
        if tag is not None and context.method == "GET" and _is_known(context, tag):
            kept = {name: headers[name] for name in ("etag", "vary", "content-language", "cache-control") if name in headers}
            return Response(None, 304, kept)
        return response

    def _check_query(self, context: RequestContext) -> None:
        """Each parameter at most once, and none where none is known; what they say is FastAPI's to validate."""
        if query := context.scope["query_string"]:
            check_query(query, known=bool(self.dependant.query_params))


def operations(routes: Iterable[BaseRoute]) -> list[Operation]:
    """Every operation, as the routes declare it."""
    return [route.operation for route in routes if isinstance(route, ApiRoute)]


def action_roles(routes: Iterable[BaseRoute]) -> dict[str, frozenset[Role]]:
    """Who may take each step that `available_actions` can name."""
    return {word: roles for one in operations(routes) for word, roles in one.actions.items()}


def _authorization(request: Request) -> str | None:
    """One caller speaks for itself: of two headers, who could say which was checked on the way here?"""
    sent = request.headers.getlist("authorization")
    if len(sent) > 1:
        raise Unauthenticated(TokenFault.twice)
    return sent[0] if sent else None


async def _must_exist(context: RequestContext) -> None:
    """NotFound where the path names something that is not there, or not for this caller to see."""
    for name, find in _FINDERS.items():
        if name in context.path_params:
            await find(context, context.path_params[name])


def _uuid(public_id: str) -> UUID:
    """Of an id whose form was checked."""
    return UUID(hex=public_id.partition("_")[2])


async def _find_payment(context: RequestContext, payment_id: str) -> None:
    await context.snapshot(_uuid(payment_id))


async def _find_cancellation(context: RequestContext, cancellation_id: str) -> None:
    await context.snapshot(await context.payment_of_cancellation(_uuid(cancellation_id)))


async def _find_refund(context: RequestContext, refund_id: str) -> None:
    await context.snapshot((await context.parents_of_refund(_uuid(refund_id)))[0])


async def _find_anomaly(context: RequestContext, anomaly_id: str) -> None:
    await context.anomaly(_uuid(anomaly_id))


async def _find_policy(context: RequestContext, version: str) -> None:
    if await context.store.policies.get(version) is None:
        raise NotFound


async def _find_merchant(context: RequestContext, merchant_id: str) -> None:
    """To be read it must be there; it may be told of for the first time, and anybody may ask for its terms."""
    if (
        context.method == "GET"
        and context.roles is not None
        and (not context.owns_merchant(merchant_id) or await context.store.merchants.version(merchant_id) is None)
    ):
        raise NotFound


_FINDERS: Final = {
    "payment_id": _find_payment,
    "cancellation_id": _find_cancellation,
    "refund_id": _find_refund,
    "anomaly_id": _find_anomaly,
    "version": _find_policy,
    "merchant_id": _find_merchant,
}


def _is_known(request: Request, tag: str) -> bool:
    """Whether the caller has that version already: the comparison is weak."""
    sent = ",".join(request.headers.getlist("if-none-match"))
    return sent.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in sent.split(",")}


def _callers_of(endpoint: Callable[..., Any]) -> Callers:
    for hint in get_type_hints(endpoint, include_extras=True).values():
        found = [one for one in get_args(hint)[1:] if isinstance(one, Callers)] if get_origin(hint) is Annotated else []
        if found:
            return found[0]
    raise TypeError(f"{endpoint.__name__} does not say who may call it: its first parameter must be a context, such as ForReaders")


def _body_model(route: APIRoute) -> type[BaseModel] | None:
    if route.body_field is None:
        return None
    model = route.body_field.field_info.annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"the body of {route.name} must be a pydantic model")
    return model


def _is_page(model: Any) -> bool:
    metadata = getattr(model, "__pydantic_generic_metadata__", None) or {}
    return metadata.get("origin") is Page


def _is_streamed(route: ApiRoute) -> bool:
    """Whether it takes as long as its caller likes: such calls have limits of their own, and no place among the others."""
    reads_its_own_body = route.body_model is None and not route.is_command and route.methods != {"GET"}
    return reads_its_own_body or route.response_class is StreamingResponse


def _actions(route: ApiRoute) -> dict[str, frozenset[Role]]:
    declared = (route.openapi_extra or {}).get("x-actions", {})
    everyone = route.roles or frozenset()
    return {word: everyone if roles is None else frozenset(map(Role, roles)) for word, roles in declared.items()}
