"""The service itself: what it is, whether it is well, its key, and the rails' notifications."""

from typing import Annotated

from fastapi import APIRouter, Path
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from service import VERSION
from service.api.context import ForAnybody, ForEveryRole, RequestContext
from service.api.disk_space import has_space
from service.api.fixed_body import FixedResponse
from service.api.models.operations import HealthOut, MetaOut, NotificationOut, ReadyOut
from service.api.notifications import NOTIFICATION_BODY, store_notification
from service.api.problem_responses import problems
from service.api.rail_states import HEARTBEAT_AGE_MAX, current_states
from service.api.responses import streamed
from service.api.routing import ApiRoute
from service.migrations import at_head
from workflows.commands import TRANSIENT

router = APIRouter(tags=["service"], route_class=ApiRoute)

ProviderName = Annotated[str, Path(description="The rail.", pattern="^[a-z][a-z0-9_]{0,31}$", examples=["sandbox"])]


@router.get("/v1/meta", summary="Describe the service")
async def meta(context: ForEveryRole) -> MetaOut:
    """The version, the rails that it can reach, and the sandbox rail's own address where there is one."""
    return MetaOut(
        name="refundry",
        version=VERSION,
        providers=sorted(context.services.rails.providers),
        default_provider=context.services.runner.runtime.default_provider,
        sandbox_url=context.services.settings.sandbox_url,
    )


@router.get("/v1/log/key", summary="Get the verifier key", response_class=PlainTextResponse, responses=streamed("text/plain"))
async def log_key(context: ForAnybody) -> Response:
    """In the form `name+hex(key id)+base64(0x01 || Ed25519 public key)`, as `refundry verify --key` takes it."""
    return PlainTextResponse(context.services.evidence.verifier_key() + "\n")


@router.post(
    "/v1/providers/{provider}/notifications",
    summary="Receive a notification",
    responses=problems("unauthenticated"),
    openapi_extra=NOTIFICATION_BODY,
)
async def provider_notifications(context: ForAnybody, provider: ProviderName) -> NotificationOut:
    """For rails, not for callers.

    The body is whatever the rail sends, and its signature is checked over those very bytes; it is stored first and acted on afterwards,
    and duplicates and reordering are harmless. The sandbox signs in `Refundry-Sandbox-Signature`.
    """
    await store_notification(context, provider)
    return NotificationOut()


@router.get("/healthz", summary="Check liveness")
async def healthz(context: ForAnybody) -> HealthOut:  # noqa: ARG001 -- says that everybody may ask
    """Answers as long as the process lives. Asks nothing of the database, so that its outage restarts nobody."""
    return HealthOut(status="ok")


@router.get(
    "/readyz",
    summary="Check readiness",
    responses={
        503: {"model": ReadyOut, "description": "Not ready.", "headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}}
    },
)
async def readyz(context: ForAnybody, response: Response) -> ReadyOut:
    """200 when the database answers and has room to write, its schema is this program's, a worker is alive and tokens can be checked;
    else 503, with what failed.
    """
    checks = await _check(context)
    if not all(checks.values()):
        response.status_code = 503
        response.headers["retry-after"] = "2"
    status = "ok" if all(checks.values()) else "unavailable"
    rails = await current_states(context.services.runner.runtime) if checks["migrations"] else []
    return ReadyOut.model_validate(
        {
            "status": status,
            "checks": {name: "ok" if good else "failed" for name, good in checks.items()},
            "rails": [{"name": each.name, "state": each.state, "since": each.since} for each in rails],
        }
    )


@router.get("/metrics", summary="Get metrics", response_class=PlainTextResponse, responses=streamed("text/plain"))
async def metrics(context: ForAnybody) -> Response:
    """Prometheus text format, at most a second old; what the database tells at most five.

    `refundry_rail_breaker_state` is 0 where a rail's breaker is closed, 1 half open, 2 open. API processes that share a directory
    (`metrics_dir`) each show what all of them counted.
    """
    page = await context.services.metrics_page.get(context.services.runner.runtime)
    return FixedResponse(page, media_type=CONTENT_TYPE_LATEST)


async def _check(context: RequestContext) -> dict[str, bool]:
    """What stands between this process and serving; what could not be asked counts as failed."""
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        checks["migrations"] = await at_head(context.store.side)
        checks["database"] = True
        now = context.services.runner.runtime.queue_clock()
        checks["worker"] = checks["migrations"] and await context.store.has_living_worker(now, HEARTBEAT_AGE_MAX)
    except TRANSIENT:
        pass
    checks["disk"] = has_space(context)
    checks["keys"] = await context.services.authenticator.has_keys()
    return checks
