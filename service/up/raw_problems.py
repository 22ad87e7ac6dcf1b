"""Problems as whole HTTP answers, for requests that no application sees."""

from service.api.i18n import language
from service.api.problems import Listener, RequestProblem, problem_for
from service.http_refusals import raw_answer
from workflows.clock_and_ids import new_id


def raw_problem(slug: str, accept_language: str | None) -> bytes:
    """The answer after which the connection is closed, in English unless a language was asked for.

    The path is not told: often there is none that could be read.
    """
    refusal, trace_id = RequestProblem(slug), new_id().hex
    reply = problem_for(refusal, Listener(language=language(accept_language)), instance="", trace_id=trace_id)
    if reply is None:
        raise refusal
    return raw_answer(reply.status, reply.body, reply.headers | {"request-id": trace_id})
