"""Query strings for tests: read as FastAPI does it, and what is found wrong with them."""

from typing import Any, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import ValidationError

from service.api.field_errors import field_errors
from service.api.i18n import Language, fault_message
from service.api.problems import RequestProblem
from service.api.queries import Query, check_query

ID = UUID("0193b1e6-a5c0-7d2e-8f4a-6b1c2d3e4f50")
Q = TypeVar("Q", bound=Query)


def read_query(raw: bytes, model: type[Q]) -> Q:
    """As FastAPI does it, once the route class has looked at the whole."""
    check_query(raw, known=True)
    try:
        return model.model_validate(dict(parse_qsl(raw.decode(), keep_blank_values=True)))
    except ValidationError as error:
        raise RequestProblem("validation-failed", members={"errors": field_errors(error, "/query")}) from None


def errors_of(model: type[Query], raw: bytes) -> dict[str, str]:
    try:
        read_query(raw, model)
    except RequestProblem as problem:
        errors: Any = problem.members["errors"] if problem.problem.slug == "validation-failed" else None
        return {fault.pointer: fault_message(fault, Language.en) for fault in errors}
    return {}
