"""The service itself: what it is, whether it is well, its policies, its problems explained, its key."""

from datetime import timedelta

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from service import VERSION
from service.api import answers
from service.api.calls import Call
from service.api.openapi import document
from service.api.problem_pages import problem_index, problem_page
from service.api.queries import NoQuery
from service.migrations import at_head
from workflows.domain.errors import NotFound
from workflows.domain.policy_form import policy_data
from workflows.domain.times import rfc3339
from workflows.run import TRANSIENT

HEARTBEAT_AGE_MAX = timedelta(seconds=15)


async def meta(call: Call) -> Response:
    call.query(NoQuery)
    return call.json(
        {
            "name": "refundry",
            "version": VERSION,
            "providers": sorted(call.services.rails.providers),
            "default_provider": call.services.runner.runtime.default_provider,
            "sandbox_url": call.services.settings.sandbox_url,
        }
    )


async def healthz(call: Call) -> Response:
    """Alive: the process answers. Nothing else is asked, so that a database's outage restarts nobody."""
    return call.json({"status": "ok"})


async def readyz(call: Call) -> Response:
    """Ready: the database answers, its schema is this program's, and some worker has shown a sign of life lately."""
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        checks["migrations"] = await at_head(call.store.pool)
        checks["database"] = True
        beat = await call.store.last_beat() if checks["migrations"] else None
        checks["worker"] = beat is not None and call.services.runner.runtime.clock() - beat <= HEARTBEAT_AGE_MAX
    except TRANSIENT:
        pass
    ready = all(checks.values())
    answer: answers.Answer = {
        "status": "ok" if ready else "unavailable",
        "checks": {name: "ok" if good else "failed" for name, good in checks.items()},
    }
    return call.json(answer, status=200 if ready else 503, headers={} if ready else {"retry-after": "2"})


async def metrics(call: Call) -> Response:
    del call
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def list_policies(call: Call) -> Response:
    call.query(NoQuery)
    policies = call.store.policies
    found = [await policies.get(version) for version in await policies.versions()]
    shown = [
        {
            "version": one.policy.version,
            "effective_from": rfc3339(one.policy.effective_from),
            "published_at": rfc3339(one.published_at),
            "published_by": one.published_by,
        }
        for one in found
        if one is not None
    ]
    return call.json({"data": shown, "next_cursor": None})


async def get_policy(call: Call) -> Response:
    found = await call.store.policies.get(call.request.path_params["version"])
    if found is None:
        raise NotFound
    call.query(NoQuery)
    return call.json(
        {
            "policy": policy_data(found.policy),
            "published_at": rfc3339(found.published_at),
            "published_by": found.published_by,
        }
    )


async def log_key(call: Call) -> Response:
    """The verifier key of exports, in the form of C2SP's signed notes."""
    return PlainTextResponse(call.services.evidence.verifier_key() + "\n")


async def list_problems(call: Call) -> Response:
    return HTMLResponse(problem_index(call.language))


async def get_problem(call: Call) -> Response:
    page = problem_page(call.request.path_params["slug"], call.language)
    if page is None:
        raise NotFound
    return HTMLResponse(page)


async def openapi(call: Call) -> Response:
    return call.json(document(version=VERSION))
