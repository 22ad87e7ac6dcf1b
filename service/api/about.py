"""The service itself: what it is, whether it is well, its policies, its problems explained, its key."""

import re
from datetime import timedelta

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from service import VERSION
from service.api import answers
from service.api.calls import Call
from service.api.docs_page import DOCS_HEADERS, docs_page
from service.api.openapi import document
from service.api.page_style import page_response
from service.api.problem_pages import PAGE_HEADERS, problem_index, problem_page
from service.api.queries import NoQuery
from service.migrations import at_head
from workflows.domain.errors import NotFound
from workflows.domain.policy_form import policy_data
from workflows.domain.times import rfc3339
from workflows.run import TRANSIENT
from workflows.storage.policies import Published

HEARTBEAT_AGE_MAX = timedelta(seconds=15)
_VERSION = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # no other text can name a policy, and some cannot even be sent to the database


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
    """All of them, newest first: there is one for every change of mind, not for every payment."""
    call.query(NoQuery)
    policies = call.store.policies
    found = [await policies.get(version) for version in await policies.versions()]
    return call.json(answers.page_answer([_entry(one) for one in found if one is not None], None))


async def get_policy(call: Call) -> Response:
    asked = call.request.path_params["version"]
    found = await call.store.policies.get(asked) if _VERSION.fullmatch(asked) else None
    if found is None:
        raise NotFound
    call.query(NoQuery)
    return call.json({"policy": policy_data(found.policy), **_publication(found)})


def _entry(one: Published) -> answers.Answer:
    return {"version": one.policy.version, "effective_from": rfc3339(one.policy.effective_from), **_publication(one)}


def _publication(one: Published) -> answers.Answer:
    return {"published_at": rfc3339(one.published_at), "published_by": one.published_by}


async def log_key(call: Call) -> Response:
    """The verifier key of exports, in the form of C2SP's signed notes."""
    return PlainTextResponse(call.services.evidence.verifier_key() + "\n")


async def list_problems(call: Call) -> Response:
    return page_response(problem_index(call.language), call.language, PAGE_HEADERS)


async def get_problem(call: Call) -> Response:
    page = problem_page(call.request.path_params["slug"], call.language)
    if page is None:
        raise NotFound
    return page_response(page, call.language, PAGE_HEADERS)


async def openapi(call: Call) -> Response:
    return call.json(document(version=VERSION))


async def docs(call: Call) -> Response:
    return page_response(docs_page(call.language, version=VERSION), call.language, DOCS_HEADERS)
