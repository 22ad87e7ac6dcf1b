"""What pydantic finds, as RFC 6901 pointers and sentences that say what is expected and never repeat what was sent."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final, TypedDict

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.api.schemas import EXPECTED

ERRORS_MAX: Final = 50
_NAME_LENGTH_MAX: Final = 64  # a longer name is not one of ours; it is not sent back
_Context = Mapping[str, object]

_SENTENCES: Final[Mapping[str, Callable[[_Context], str]]] = {
    "refundry": lambda context: str(context["detail"]),
    "missing": lambda _: "Is required.",
    "extra_forbidden": lambda _: "Is not known here.",
    "greater_than_equal": lambda context: f"Must be at least {context['ge']}.",
    "less_than_equal": lambda context: f"Must be at most {context['le']}.",
    "string_too_short": lambda context: f"Must have at least {context['min_length']} characters.",
    "string_too_long": lambda context: f"Must have at most {context['max_length']} characters.",
    "string_pattern_mismatch": lambda context: EXPECTED.get(str(context["pattern"]), "Must have another form."),
    "too_short": lambda context: f"Must have at least {context['min_length']} entries.",
    "too_long": lambda context: f"Must have at most {context['max_length']} entries.",
    "enum": lambda context: f"Must be one of {context['expected']}.",
    "literal_error": lambda context: f"Must be {context['expected']}.",
    "string_type": lambda _: "Must be a string.",
    "bool_type": lambda _: "Must be true or false.",
    "tuple_type": lambda _: "Must be an array.",
    "dict_type": lambda _: "Must be an object.",
    "model_type": lambda _: "Must be an object.",
}


class FieldError(TypedDict):
    """One thing to mend in a request."""

    pointer: str
    detail: str


def field_error(pointer: str, detail: str) -> FieldError:
    return {"pointer": pointer, "detail": detail}


def field_errors(error: ValidationError, prefix: str = "") -> list[FieldError]:
    """The first ERRORS_MAX findings; `prefix` is the pointer to the validated value itself."""
    found = error.errors(include_url=False, include_input=False)
    parents = {one["loc"][:depth] for one in found for depth in range(len(one["loc"]))}
    # An array whose entries are wrong is also called too short, since wrong entries are not counted.
    told = (one for one in found if not (one["type"] == "too_short" and one["loc"] in parents))
    return [field_error(prefix + _pointer(one), _sentence(one)) for one in islice(told, ERRORS_MAX)]


def pointer(names: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of these names; it ends before a name that no schema could hold."""
    tokens: list[str] = []
    for name in names:
        token = str(name)
        if len(token) > _NAME_LENGTH_MAX or not token.isprintable():
            break
        tokens.append("/" + token.replace("~", "~0").replace("/", "~1"))
    return "".join(tokens)


def _pointer(found: ErrorDetails) -> str:
    names = found["loc"]
    if names and names[-1] == "[key]":  # pydantic's mark that the name, not the value, is wrong
        names = names[:-1]
    return pointer(names) + str(found.get("ctx", {}).get("pointer", ""))


def _sentence(found: ErrorDetails) -> str:
    kind = found["type"]
    if kind.startswith("int_"):
        return "Must be an integer."
    say = _SENTENCES.get(kind)
    return "Is not valid." if say is None else say(found.get("ctx", {}))
