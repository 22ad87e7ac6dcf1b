"""Reading a request: bytes, JSON, body, idempotency key and If-Match, none of which can be odd enough for an exception of another kind."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final, Generic, NoReturn, Self, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from service.api.field_errors import ERRORS_MAX, field_error, field_errors, pointer
from service.api.problems import RequestProblem
from service.api.queries import NoQuery, read_query
from service.api.rights import Operation
from service.api.schemas import BODY_BYTES_MAX, ENTRIES_MAX
from workflows.domain.canonical import canonical
from workflows.domain.faults import Fault, FaultCode, FaultMember

JSON_TYPE: Final = "application/json"
NDJSON_TYPE: Final = "application/x-ndjson"
NO_VERSION: Final = -1  # an If-Match that no version can satisfy
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some programs begin every text with it
_DIGITS_MAX: Final = 18
_NOTHING: Final = b"{}"  # an absent body says as much as an empty object

_KEY: Final = re.compile(r"[!-~]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')
_ETAG: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"')

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Inbound(Generic[B]):
    """What a request says. A failure waits until `checked()`, since a payment that is not there is said first."""

    failure: RequestProblem | None
    body: B | None = None
    key: str | None = None
    fingerprint: str = ""
    if_match: int | None = None

    @classmethod
    async def read(cls, request: Request, operation: Operation, model: type[B]) -> Self:
        """Read it all; never raises. `failure` is the first in this order: 413, 415, 400, the key's presence, 422."""
        if_match = read_if_match(request.headers.getlist("if-match")) if operation.if_match else None
        try:
            raw = (await read_body(request) or _NOTHING).removeprefix(BYTE_ORDER_MARK)
            value = parse_json(raw)
            key = idempotency_key(request.headers.getlist("idempotency-key"), required=operation.idempotent)
            body = validate(raw, value, model)
            read_query(request.scope["query_string"], NoQuery)
        except RequestProblem as failure:
            return cls(failure, if_match=if_match)
        return cls(None, body, key, fingerprint(request.method, str(request.scope["path"]), value), if_match)

    def checked(self) -> B:
        """The body; raises the failure if there is one."""
        if self.failure is not None:
            raise self.failure
        if self.body is None:
            raise ValueError("neither a body nor a failure")
        return self.body


async def read_body(request: Request, *, media_type: str = JSON_TYPE, limit_bytes: int = BODY_BYTES_MAX) -> bytes:
    """The body's bytes; RequestProblem `body-too-large` as soon as that shows, `unsupported-media-type` for another type or coding.

    Chunks beyond the limit are not read. An empty body needs no type.
    """
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > _DIGITS_MAX or int(length) > limit_bytes):
        raise RequestProblem("body-too-large")
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            if len(chunks) + len(chunk) > limit_bytes:
                raise RequestProblem("body-too-large")
            chunks += chunk
    except ClientDisconnect:
        raise _malformed(FaultCode.body_incomplete) from None
    check_arrived(request.headers, len(chunks))
    if chunks:
        check_media_type(request.headers, media_type)
    return bytes(chunks)


def check_arrived(headers: Mapping[str, str], length_bytes: int) -> None:
    """RequestProblem `malformed-request` where a body was announced, and none or less arrived.

    A server or proxy that loses a body must not turn an order into one that says nothing.
    """
    announced = headers.get("content-length", "0")
    least = int(announced) if announced.isascii() and announced.isdigit() and len(announced) <= _DIGITS_MAX else 1
    if length_bytes < least or (length_bytes == 0 and "transfer-encoding" in headers):
        raise _malformed(FaultCode.body_incomplete)


def check_media_type(headers: Mapping[str, str], media_type: str = JSON_TYPE) -> None:
    """RequestProblem `unsupported-media-type` unless the body is `media_type`, in UTF-8 and not compressed."""
    found, *parameters = headers.get("content-type", "").lower().split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    charsets = {value.strip().strip('"') for name, _, value in pairs if name.strip() == "charset"}
    if found.strip() != media_type or not charsets <= {"utf-8", "utf8"}:
        raise RequestProblem("unsupported-media-type")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise RequestProblem("unsupported-media-type")


def parse_body(raw: bytes, model: type[B]) -> B:
    """One JSON text as `model`; RequestProblem `malformed-request` where it is not JSON, `validation-failed` where it is another body."""
    return validate(raw, parse_json(raw), model)


def parse_json(raw: bytes) -> object:
    """The JSON value in `raw`, in the form that I-JSON (RFC 7493) asks for: UTF-8, no name twice, no NaN; else `malformed-request`."""
    try:
        value: object = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise (_other_encoding(raw) or _malformed(FaultCode.not_utf8)) from None
    except json.JSONDecodeError as error:
        raise (_other_encoding(raw) or _malformed(FaultCode.not_json, line=error.lineno, column=error.colno)) from None
    except RecursionError:
        raise _malformed(FaultCode.nested_too_deep) from None
    except ValueError:  # Python reads no integer of more than some thousand digits
        raise _malformed(FaultCode.number_too_long) from None
    return value


def validate(raw: bytes, value: object, model: type[B]) -> B:
    """`raw`, whose JSON value is `value`, as `model`; RequestProblem `validation-failed` names what to mend.

    The text is read again, since pydantic is strict only about JSON: there a string may be a time, and true is no integer.
    """
    if errors := _too_many(value):
        raise RequestProblem("validation-failed", members={"errors": errors})
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        if _unreadable(error):
            raise _malformed(FaultCode.not_unicode) from None
        raise RequestProblem("validation-failed", members={"errors": field_errors(error)}) from None


def idempotency_key(headers: Sequence[str], *, required: bool = True) -> str | None:
    """The key in the Idempotency-Key headers, bare or quoted (RFC 8941) being the same; None if there is none and none is required."""
    if not headers:
        if required:
            raise RequestProblem("idempotency-key-missing")
        return None
    text = headers[0].strip(" \t")
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if len(headers) > 1 or not _KEY.fullmatch(text):
        raise _malformed(FaultCode.invalid_idempotency_key, "/headers/idempotency-key")
    return text


def read_if_match(headers: Sequence[str]) -> int | None:
    """The version that the caller saw; None if any will do, NO_VERSION if none can: strong comparison of one tag, as we give them."""
    tags = [tag.strip(" \t") for tag in headers]
    if tags in ([], ["*"]):
        return None
    found = _ETAG.fullmatch(tags[0]) if len(tags) == 1 else None
    return int(found[1]) if found else NO_VERSION


def fingerprint(method: str, path: str, value: object) -> str:
    """Hex SHA-256 of what was asked, however its JSON was written."""
    return sha256(f"{method} {path}\n".encode(errors="surrogatepass") + canonical(value)).hexdigest()


def _too_many(value: object) -> list[Fault]:
    """Found before pydantic sees it, which would collect an error for each of a hundred thousand wrong entries."""
    if not isinstance(value, dict):
        return [field_error("", FaultCode.not_object)]
    arrays = (name for name, member in value.items() if isinstance(member, list) and len(member) > ENTRIES_MAX)
    return [field_error(pointer([name]), FaultCode.too_many_entries, maximum=ENTRIES_MAX) for name in islice(arrays, ERRORS_MAX)]


def _other_encoding(raw: bytes) -> RequestProblem | None:
    """The problem of a text in 16 or 32 bits a character; asked only of what is no JSON in UTF-8."""
    found = json.detect_encoding(raw)[: len("utf-16")]
    return _malformed(FaultCode.other_encoding, encoding=found.upper()) if found in ("utf-16", "utf-32") else None


def _unreadable(error: ValidationError) -> bool:
    """Whether pydantic's reader gave up on a text that ours took: lone surrogates, or nesting that it does not follow."""
    return error.error_count() == 1 and error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed(FaultCode.duplicate_member)
    return members


def _no_constant(_: str) -> NoReturn:
    raise _malformed(FaultCode.not_finite)


def _malformed(code: FaultCode, where: str = "", **members: FaultMember) -> RequestProblem:
    return RequestProblem("malformed-request", members={"errors": [Fault(where, code, members)]})
