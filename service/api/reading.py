"""Reading a request: bytes, JSON, body, idempotency key and If-Match, none of which can be odd enough for an exception of another kind."""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from service.api.field_errors import ERRORS_MAX, body_errors, field_error, pointer
from service.api.problems import RequestProblem
from service.api.types import BODY_BYTES_MAX, CONTAINERS_MAX, DEPTH_MAX, ENTRIES_MAX, MEMBERS_MAX
from workflows.domain.canonical import canonical
from workflows.domain.faults import Fault, FaultCode, FaultMember
from workflows.domain.policies.form import PolicyInvalid

JSON_TYPE: Final = "application/json"
NDJSON_TYPE: Final = "application/x-ndjson"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # some programs begin every text with it
POLICY_FAULTS_MAX: Final = 100
_DIGITS_MAX: Final = 18
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_INNERMOST: Final = re.compile(rb"\[\]|\{\}")

_KEY: Final = re.compile(r"[!-~]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')
_TAG: Final = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')
_TAGS: Final = re.compile(rf"[ \t]*{_TAG.pattern}[ \t]*(?:,[ \t]*(?:{_TAG.pattern}[ \t]*)?)*")
_VERSION: Final = re.compile(r"0|[1-9][0-9]{0,17}")

B = TypeVar("B", bound=BaseModel)


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
        fault = field_error("/headers/content-type", FaultCode.unsupported_media_type, allowed=(media_type,))
        raise RequestProblem("unsupported-media-type", members={"errors": [fault]}, headers={"accept": media_type})
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        fault = field_error("/headers/content-encoding", FaultCode.unsupported_coding)
        raise RequestProblem("unsupported-media-type", members={"errors": [fault]}, headers={"accept-encoding": "identity"})


def parse_body(raw: bytes, model: type[B]) -> B:
    """One JSON text as `model`; RequestProblem `malformed-request` where it is not JSON, `validation-failed` where it is another body."""
    return validate(raw, parse_json(raw), model)


def parse_json(raw: bytes) -> object:
    """The JSON value in `raw`, in the form that I-JSON (RFC 7493) asks for: UTF-8, no name twice, no NaN; else `malformed-request`.

    So is what has more objects, arrays, levels or members than any body needs: it is not read through.
    """
    _check_shape(raw)
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
        raise RequestProblem("validation-failed", members={"errors": body_errors(error, value, model)}) from None
    except PolicyInvalid as invalid:  # from a body that reads itself by the policy's form
        raise RequestProblem("validation-failed", members={"errors": list(invalid.faults[:POLICY_FAULTS_MAX])}) from None


def idempotency_key(headers: Sequence[str]) -> str:
    """The key in the Idempotency-Key headers, bare or quoted (RFC 8941) being the same."""
    if not headers:
        raise RequestProblem("idempotency-key-missing")
    text = headers[0].strip(" \t")
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if len(headers) > 1 or not _KEY.fullmatch(text):
        raise _malformed(FaultCode.invalid_idempotency_key, "/headers/idempotency-key")
    return text


def read_if_match(headers: Sequence[str]) -> frozenset[int] | None:
    """The versions that the caller accepts (RFC 9110, section 13.1.1: a list of entity tags, or `*`); None: any.

    The comparison is strong: a weak tag, and one that is not of our form, matches nothing. What is no tag is `malformed-request`.
    """
    text = ", ".join(headers).strip(" \t")
    if not headers or text == "*":
        return None
    if not _TAGS.fullmatch(text):
        raise _malformed(FaultCode.invalid_if_match, "/headers/if-match")
    return frozenset(int(found) for weak, found in _TAG.findall(text) if not weak and _VERSION.fullmatch(found))


def fingerprint(method: str, path: str, value: object) -> str:
    """Hex SHA-256 of what was asked, however its JSON was written."""
    return sha256(f"{method} {path}\n".encode(errors="surrogatepass") + canonical(value)).hexdigest()


def _check_shape(raw: bytes) -> None:
    """By its brackets alone, which takes a small part of the time that reading would."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_MAX:
        return  # neither too many nor too deep
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    if brackets.count(b"[") + brackets.count(b"{") > CONTAINERS_MAX:
        raise _malformed(FaultCode.too_many_values, maximum=CONTAINERS_MAX)
    for _ in range(DEPTH_MAX):
        brackets = _INNERMOST.sub(b"", brackets)
    if brackets and sum(map(brackets.count, _OPENING)) == sum(map(brackets.count, _CLOSING)):  # else it is no JSON, and that is said
        raise _malformed(FaultCode.nested_too_deep)


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
    if len(pairs) > MEMBERS_MAX:
        raise _malformed(FaultCode.too_many_members, maximum=MEMBERS_MAX)
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed(FaultCode.duplicate_member)
    return members


def _no_constant(_: str) -> NoReturn:
    raise _malformed(FaultCode.not_finite)


def _malformed(code: FaultCode, where: str = "", **members: FaultMember) -> RequestProblem:
    return RequestProblem("malformed-request", members={"errors": [Fault(where, code, members)]})
