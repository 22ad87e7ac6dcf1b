"""Policies: the published versions."""

from typing import Annotated

from fastapi import APIRouter, Path

from service.api.context import ForEveryRole
from service.api.models.base import Page
from service.api.models.policies import PolicyEntryOut, PolicyOut
from service.api.responses import links
from service.api.routing import ApiRoute
from workflows.domain.errors import NotFound
from workflows.domain.policy_form import policy_data

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=ApiRoute)

PolicyVersion = Annotated[
    str, Path(description="The policy's version.", pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", examples=["2026-11-a"])
]


@router.get("", summary="List policies", openapi_extra=links(200, get_policy={"version": "$response.body#/data/0/version"}))
async def list_policies(context: ForEveryRole) -> Page[PolicyEntryOut]:
    """All published versions, newest first."""
    policies = context.store.policies
    found = [await policies.get(version) for version in await policies.versions()]
    data = [
        PolicyEntryOut(
            version=one.policy.version,
            effective_from=one.policy.effective_from,
            published_at=one.published_at,
            published_by=one.published_by,
        )
        for one in found
        if one is not None
    ]
    return Page(data=data, next_cursor=None)


@router.get("/{version}", summary="Get a policy", response_model_exclude_unset=True)
async def get_policy(context: ForEveryRole, version: PolicyVersion) -> PolicyOut:
    """A published version never changes. Every payment is decided by the one that was in force when it was authorised."""
    found = await context.store.policies.get(version)
    if found is None:
        raise NotFound
    document = {"policy": policy_data(found.policy), "published_at": found.published_at, "published_by": found.published_by}
    return PolicyOut.model_validate(document)
