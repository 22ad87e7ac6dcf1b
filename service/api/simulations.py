"""Simulations: what a policy would have changed, told at the end or as it goes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.context import ForOperators, RequestContext
from service.api.models.base import to_json
from service.api.models.simulations import SimulatePolicy, SimulationOut, SimulationProgressLine
from service.api.policies import PATH
from service.api.reading import JSON_TYPE, NDJSON_TYPE
from service.api.responses import streamed
from service.api.routing import ApiRoute
from service.api.streaming import Stream, begun
from workflows.domain.policies.simulation import SimulationResult
from workflows.flows.simulate import SimulatePolicySpan, SimulationProgress

router = APIRouter(prefix=PATH, tags=["policies"], route_class=ApiRoute)

Steps = AsyncGenerator[SimulationProgress | SimulationResult]


@router.post("/simulate", response_model=SimulationOut, summary="Simulate a policy", responses=streamed(NDJSON_TYPE))
async def simulate_policy(context: ForOperators, body: SimulatePolicy) -> Response:
    """Tells how each decision of a span would have come out under this policy, had it been its payment's. Writes nothing.

    Each decision is replayed on the facts that it kept, as of its moment: by the payment's own policy, and by the candidate. What a
    supervisor's override passed counts as what policy said. `amount` is what was asked for.

    With `Accept: application/x-ndjson` the answer is a stream: lines `{"type": "progress", "decisions": …, "at": …}` while it runs, and
    at the end the result as one line with `"type": "result"`; a stream without it was cut. When the caller goes away, the work stops.
    Each process runs one simulation at a time; another is 429 `rate-limited` with `Retry-After`.
    """
    wanted = SimulatePolicySpan(candidate=body.policy.policy, start=body.from_, end=body.to)
    steps = context.services.simulations.run(context.services.runner.runtime, context.services.reads, wanted)
    if _wants_lines(context):
        lines = _lines(context, steps, wanted.candidate.version)
        return Stream(await begun(lines), lines, media_type=NDJSON_TYPE, stall_seconds=context.services.settings.stream_stall_seconds)
    result = await _result(context, steps)
    return Response(to_json(SimulationOut.about(result, wanted.candidate.version, context.language)), media_type=JSON_TYPE)


def _wants_lines(context: RequestContext) -> bool:
    accepted = context.headers.get("accept", "").lower().split(",")
    return NDJSON_TYPE in {one.partition(";")[0].strip() for one in accepted}


async def _result(context: RequestContext, steps: Steps) -> SimulationResult:
    """The last step. Raises ClientDisconnect as soon as nobody waits for it."""
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, SimulationResult):
                return step
            if await context.is_disconnected():
                raise ClientDisconnect
    raise AssertionError("the last step is the result")


async def _lines(context: RequestContext, steps: Steps, version: str) -> AsyncGenerator[bytes]:
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, SimulationResult):
                yield _RESULT + to_json(SimulationOut.about(step, version, context.language))[1:] + _END
            else:
                yield to_json(SimulationProgressLine(decisions=step.decisions, at=step.at)) + _END


_RESULT, _END = b'{"type":"result",', b"\n"  # the answer's own JSON, with its type before the other members
