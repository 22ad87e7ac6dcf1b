"""What pydantic finds, as faults: a pointer, a code and what is expected, never what was sent."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from service.api.types import EXPECTED
from workflows.domain.faults import Fault, FaultCode, FaultMember

ERRORS_MAX: Final = 50
_NAME_LENGTH_MAX: Final = 64  # a longer name is not one of ours; it is not sent back
_QUOTED: Final = re.compile("'([^']*)'")  # pydantic tells an enum's words as one text: 'card', 'bank' or 'points'

# Pydantic's kind of error; our code; the name that a limit has there, and here.
_CODES: Final[Mapping[str, tuple[FaultCode, str, str]]] = {
    "missing": (FaultCode.required, "", ""),
    "extra_forbidden": (FaultCode.unknown_member, "", ""),
    "greater_than_equal": (FaultCode.below_minimum, "ge", "minimum"),
    "less_than_equal": (FaultCode.above_maximum, "le", "maximum"),
    "string_too_short": (FaultCode.too_few_characters, "min_length", "minimum"),
    "string_too_long": (FaultCode.too_many_characters, "max_length", "maximum"),
    "too_short": (FaultCode.too_few_entries, "min_length", "minimum"),
    "too_long": (FaultCode.too_many_entries, "max_length", "maximum"),
    "string_type": (FaultCode.not_string, "", ""),
    "bool_type": (FaultCode.not_boolean, "", ""),
    "tuple_type": (FaultCode.not_array, "", ""),
    "dict_type": (FaultCode.not_object, "", ""),
    "model_type": (FaultCode.not_object, "", ""),
}


def field_error(pointer: str, code: FaultCode, **members: FaultMember) -> Fault:
    return Fault(pointer, code, members)


def field_errors(error: ValidationError, prefix: str = "") -> list[Fault]:
    """The first ERRORS_MAX findings; `prefix` is the pointer to the validated value itself."""
    return error_entries(error.errors(include_url=False, include_input=False), prefix)


def body_errors(error: ValidationError, value: object, model: type[BaseModel]) -> list[Fault]:
    """The same of a body. Of a list pydantic tells the first wrong entry only, since it might have thousands: those after it are looked at
    here, as many as are told at all.
    """
    found: list[Any] = error.errors(include_url=False, include_input=False)
    if isinstance(value, dict):
        for name, first in {one["loc"][0]: one["loc"][1] for one in found if len(one["loc"]) > 1}.items():
            entries = value.get(name)
            if isinstance(entries, list) and isinstance(first, int):
                found += islice(_errors_of_entries(model, name, entries, first + 1), ERRORS_MAX)
    return error_entries(found)


def _errors_of_entries(model: type[BaseModel], name: str, entries: Sequence[object], start: int) -> Iterator[dict[str, Any]]:
    for position, entry in enumerate(entries[start : start + ERRORS_MAX], start):
        try:
            model.model_validate_json(json.dumps({name: [entry]}))
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                if one["loc"][:2] == (name, 0):
                    yield {**one, "loc": (name, position, *one["loc"][2:])}


def error_entries(found: Sequence[ErrorDetails], prefix: str = "") -> list[Fault]:
    """The same of what pydantic told already."""
    parents = {one["loc"][:depth] for one in found for depth in range(len(one["loc"]))}
    # An array whose entries are wrong is also called too short, since wrong entries are not counted.
    told = (one for one in found if not (one["type"] == "too_short" and one["loc"] in parents))
    return [_fault(one, prefix) for one in islice(told, ERRORS_MAX)]


def pointer(names: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of these names; it ends before a name that no schema could hold."""
    tokens: list[str] = []
    for name in names:
        token = str(name)
        if len(token) > _NAME_LENGTH_MAX or not token.isprintable():
            break
        tokens.append("/" + token.replace("~", "~0").replace("/", "~1"))
    return "".join(tokens)


def _fault(found: ErrorDetails, prefix: str) -> Fault:
    names = found["loc"]
    if names and names[-1] == "[key]":  # pydantic's mark that the name, not the value, is wrong
        names = names[:-1]
    context: dict[str, Any] = found.get("ctx", {})
    where = prefix + pointer(names)
    match found["type"]:
        case "fault":  # one of ours, from `problem()`
            return Fault(where + context["pointer"], FaultCode(context["code"]), context["members"])
        case "string_pattern_mismatch":
            return Fault(where, EXPECTED.get(context["pattern"], FaultCode.invalid))
        case "enum" | "literal_error":
            return Fault(where, FaultCode.unknown_value, {"allowed": tuple(_QUOTED.findall(context["expected"]))})
        case kind if kind.startswith("int_"):
            return Fault(where, FaultCode.not_integer)
        case kind:
            code, theirs, ours = _CODES.get(kind, (FaultCode.invalid, "", ""))
            return Fault(where, code, {ours: context[theirs]} if theirs else {})
