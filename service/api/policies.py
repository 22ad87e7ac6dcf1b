"""Policies: the published versions, and how an operator publishes a new one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from service.api.commands import response_of
from service.api.context import ForEveryRole, OperatorsStep, RequestContext
from service.api.models.base import Page
from service.api.models.policies import ListPolicies, PolicyDocument, PolicyEntryOut, PolicyOut
from service.api.pagination import encode_number
from service.api.problem_responses import problems
from service.api.reading import JSON_TYPE
from service.api.responses import created, links
from service.api.routing import ApiRoute
from workflows.commands import Idempotency
from workflows.domain.errors import NotFound
from workflows.domain.model import IdempotentResponse
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.policy import Policy
from workflows.flows.publish_policy import PublishPolicy, publish
from workflows.storage.policies import Published

PATH = "/v1/policies"

router = APIRouter(prefix=PATH, tags=["policies"], route_class=ApiRoute)

PolicyVersion = Annotated[
    str, Path(description="The policy's version.", pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", examples=["2026-11-a"])
]


@router.get("", summary="List policies", openapi_extra=links(200, get_policy={"version": "$response.body#/data/0/version"}))
async def list_policies(context: ForEveryRole, query: Annotated[ListPolicies, Query()]) -> Page[PolicyEntryOut]:
    """The published versions, the last one first."""
    found = await context.store.policies.page(query.limit + 1, query.cursor)
    page = found[: query.limit]
    data = [
        PolicyEntryOut(
            version=one.policy.version,
            effective_from=one.policy.effective_from,
            published_at=one.published_at,
            published_by=one.published_by,
        )
        for _, one in page
    ]
    return Page(data=data, next_cursor=encode_number("policies", page[-1][0]) if len(found) > len(page) else None)


@router.get("/{version}", summary="Get a policy", response_model_exclude_unset=True)
async def get_policy(context: ForEveryRole, version: PolicyVersion) -> PolicyOut:
    """A published version never changes. Every payment is decided by the one that was in force when it was authorised."""
    found = await context.store.policies.get(version)
    if found is None:
        raise NotFound
    return _policy_out(found)


@router.post(
    "",
    response_model=PolicyOut,
    status_code=201,
    summary="Publish a policy",
    responses=created(PolicyOut, replayed=True, versioned=False) | problems("policy-version-conflict"),
    openapi_extra=links(201, 200, get_policy={"version": "$response.body#/policy/version"}),
)
async def publish_policy(context: OperatorsStep, body: PolicyDocument) -> Response:
    """Publishes a version, which then never changes: a change is a new version under a new name.

    Every payment is decided by the policy that was in force at its `authorised_at`: of the versions whose `effective_from` is not later,
    the one with the latest, and of two with the same the one published last. It is pinned to the payment when that is registered, and a
    version published afterwards changes nothing for it.

    `effective_from` may lie ahead: payments authorised before it are decided by the versions before; several versions may be published
    ahead of time. It may also lie in the past or be now: the version then holds for all payments that are registered from now on and
    were authorised from `effective_from` on.

    The same version with the same content again answers 200 with what exists; with another content it is 409. What is
    wrong with the document is told all at once, up to 100 faults.
    """
    return await _publish(context, body.policy)


async def _publish(context: RequestContext, policy: Policy) -> Response:
    def reply(published: Published, new: bool) -> IdempotentResponse:
        headers = {"content-type": JSON_TYPE, "location": f"{PATH}/{published.policy.version}"}
        body = _policy_out(published).model_dump_json(exclude_unset=True).encode()
        return IdempotentResponse(fingerprint=context.fingerprint, status=201 if new else 200, body=body, headers=headers)

    command = PublishPolicy(
        policy=policy,
        path=PATH,
        actor=context.actor(),
        request_id=context.trace_id,
        idempotency=Idempotency(context.principal.sub, context.key or "", context.fingerprint),
        reply=reply,
    )
    return response_of(await publish(context.services.runner, command))


def _policy_out(found: Published) -> PolicyOut:
    document = {"policy": policy_data(found.policy), "published_at": found.published_at, "published_by": found.published_by}
    return PolicyOut.model_validate(document)
