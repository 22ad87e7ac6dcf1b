"""Reading: what a request says, and in which order it is told that it says it wrongly."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request

from service.api import reading
from service.api.context import RequestContext
from service.api.i18n import Language, fault_message
from service.api.middleware import TRACE_ID
from service.api.models.cancellations import RequestCancellation
from service.api.models.decisions import Withdraw
from service.api.problems import RequestProblem
from service.api.reading import read_body
from service.api.routing import ApiRoute
from service.api.types import BODY_BYTES_MAX
from service.app import ROUTERS

ROUTES = {route.name: route for router in ROUTERS for route in router.routes if isinstance(route, ApiRoute)}
CANCEL = ROUTES["request_cancellation"]
WITHDRAW = ROUTES["withdraw_cancellation"]
REGISTER = ROUTES["register_payment"]
PATH = "/v1/payments/pay_1/cancellations"
BODY = b'{"reason":"changed_mind"}'
INCOMPLETE = "The body did not arrive in full. Send the request again."
FAULTY = b'{"reason":"boredom"}'
HEADERS = {"content-type": "application/json", "idempotency-key": "k-1"}


class Wire:
    """The sender's side of a request: chunks that are counted as they are taken."""

    def __init__(self, chunks: Iterable[bytes], *, breaks_off: bool = False) -> None:
        self.left = list(chunks)
        self.taken = 0
        self.breaks_off = breaks_off

    async def receive(self) -> dict[str, Any]:
        if not self.left:
            return {"type": "http.disconnect"} if self.breaks_off else {"type": "http.request", "body": b"", "more_body": False}
        self.taken += 1
        return {"type": "http.request", "body": self.left.pop(0), "more_body": True}


def request(wire: Wire, headers: Iterable[tuple[str, str]], path: str = PATH) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}, wire.receive)


def sent(body: bytes = BODY, headers: dict[str, str] | None = None, path: str = PATH) -> Request:
    return request(Wire([body]), (HEADERS if headers is None else headers).items(), path)


@dataclass
class Got:
    """What came of reading a request as a route does."""

    context: RequestContext
    failure: RequestProblem | None = None
    body: Any = None

    @property
    def fingerprint(self) -> str:
        return self.context.fingerprint


async def read(sent_request: Request, route: ApiRoute) -> Got:
    services: Any = None  # nothing of a request's form needs them
    got = Got(RequestContext({**sent_request.scope, TRACE_ID: "0" * 32}, sent_request.receive, services, route.roles))
    try:
        route.read(got.context, await read_body(got.context))
        got.body = await got.context.json()
    except RequestProblem as failure:
        got.failure = failure
    return got


async def inbound(body: bytes = BODY, headers: dict[str, str] | None = None, called: ApiRoute = CANCEL) -> Got:
    return await read(sent(body, headers), called)


def slug(failure: RequestProblem | None) -> str | None:
    return None if failure is None else failure.problem.slug


def told(failure: RequestProblem | None) -> list[dict[str, str]]:
    assert failure is not None
    faults: Any = failure.members.get("errors")
    return [{"pointer": fault.pointer, "detail": fault_message(fault, Language.en)} for fault in faults]


def malformed(raw: bytes) -> str:
    """The one sentence that says why `raw` is not read."""
    with pytest.raises(RequestProblem) as raised:
        reading.parse_body(raw, RequestCancellation)
    assert slug(raised.value) == "malformed-request"
    found = told(raised.value)
    assert [one["pointer"] for one in found] == [""]
    return found[0]["detail"]


async def test_a_good_request_is_read_whole() -> None:
    got = await inbound(headers={**HEADERS, "if-match": '"7"'})

    assert got.failure is None
    assert got.body.reason == "changed_mind"
    assert (got.context.key, got.context.if_match) == ("k-1", frozenset({7}))
    assert got.fingerprint == sha256(b'POST /v1/payments/pay_1/cancellations\n{"reason":"changed_mind"}').hexdigest()


BIG = {"content-length": str(BODY_BYTES_MAX + 1)}
PLAIN = {"content-type": "text/plain"}
KEYLESS = {"content-type": "application/json"}


async def test_failures_are_told_in_order() -> None:
    cases: list[tuple[bytes, dict[str, str], str | None]] = [
        (b"{", {**PLAIN, **BIG}, "body-too-large"),
        (b"{", PLAIN, "unsupported-media-type"),
        (b"{", KEYLESS, "malformed-request"),
        (FAULTY, {**KEYLESS, "if-match": "3"}, "malformed-request"),
        (FAULTY, KEYLESS, "idempotency-key-missing"),
        (FAULTY, {**KEYLESS, "idempotency-key": "a b"}, "malformed-request"),
        (FAULTY, HEADERS, "validation-failed"),
        (BODY, HEADERS, None),
    ]
    for body, headers, expected in cases:
        assert slug((await inbound(body, headers)).failure) == expected


async def test_a_call_that_needs_no_key_reads_none() -> None:
    body = b'{"reference":"r","wallet_id":"w","merchant_id":"m","amount":1,"currency":"CNY"}'

    for headers in (KEYLESS, HEADERS, {**HEADERS, "if-match": "nonsense"}):
        got = await inbound(body, headers, REGISTER)
        assert (got.failure, got.context.key, got.context.if_match) == (None, None, None)


async def test_an_absent_body_says_as_much_as_an_empty_object() -> None:
    absent = await inbound(b"", {"idempotency-key": "k"}, WITHDRAW)
    empty = await inbound(b"{}", HEADERS, WITHDRAW)

    assert absent.failure is empty.failure is None
    assert absent.fingerprint == empty.fingerprint
    assert told((await inbound(b"", {"idempotency-key": "k"})).failure) == [{"pointer": "/reason", "detail": "Is required."}]


async def test_the_fingerprint_sees_through_spelling_but_not_through_meaning() -> None:
    first = await inbound(b'{"reason":"damaged","note":"caf\xc3\xa9"}')
    same = await inbound(b' {\n"note": "caf\\u00e9", "reason": "damaged"} ')
    other = await inbound(b'{"reason":"damaged","note":"cafe"}')
    elsewhere = await read(sent(b'{"reason":"damaged","note":"caf\xc3\xa9"}', path="/v1/x"), CANCEL)

    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, other.fingerprint, elsewhere.fingerprint}) == 3
    assert reading.fingerprint("POST", "/a", {}) != reading.fingerprint("PUT", "/a", {})


async def test_a_length_that_is_too_great_is_refused_before_a_byte_is_read() -> None:
    wire = Wire([b"x"] * 3)

    with pytest.raises(RequestProblem) as raised:
        await reading.read_body(request(wire, [("content-length", "262145")]))

    assert (slug(raised.value), wire.taken) == ("body-too-large", 0)


async def test_a_monstrous_length_is_too_large() -> None:
    for length in ["9" * 5000, "9" * 19]:
        with pytest.raises(RequestProblem) as raised:
            await reading.read_body(request(Wire([]), [("content-length", length)]))

        assert slug(raised.value) == "body-too-large"


async def test_a_length_that_lies_changes_nothing() -> None:
    for length in ["", "-1", "+5", "1_0", "٣", "x", "0"]:
        headers = [(b"content-length", length.encode()), (b"content-type", b"application/json")]
        lying = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, Wire([b"{}"]).receive)

        assert await reading.read_body(lying) == b"{}"


async def test_reading_stops_at_the_limit() -> None:
    wire = Wire([b"x" * 100] * 10)

    with pytest.raises(RequestProblem) as raised:
        await reading.read_body(request(wire, []), limit_bytes=250)

    assert (slug(raised.value), wire.taken) == ("body-too-large", 3)


async def test_a_body_at_the_limit_is_read() -> None:
    padded = BODY + b" " * (BODY_BYTES_MAX - len(BODY))

    assert slug((await inbound(padded)).failure) is None
    assert slug((await inbound(padded + b" ")).failure) == "body-too-large"


async def test_a_sender_who_goes_away_has_sent_nothing() -> None:
    got = await read(request(Wire([b'{"rea'], breaks_off=True), HEADERS.items()), CANCEL)

    assert told(got.failure) == [{"pointer": "", "detail": INCOMPLETE}]


ANNOUNCED = [("content-length", "25"), ("content-length", "1"), ("content-length", "x"), ("transfer-encoding", "chunked")]


async def test_a_body_that_was_announced_and_did_not_arrive_is_not_an_empty_one() -> None:
    for header in ANNOUNCED:
        for chunks in ([], [b""]):
            got = await read(request(Wire(chunks), [*HEADERS.items(), header]), WITHDRAW)

            assert slug(got.failure) == "malformed-request"
            assert told(got.failure) == [{"pointer": "", "detail": INCOMPLETE}]


async def test_a_body_that_is_shorter_than_announced_is_not_read() -> None:
    assert slug((await inbound(headers={**HEADERS, "content-length": "26"})).failure) == "malformed-request"
    assert slug((await inbound(headers={**HEADERS, "content-length": "25"})).failure) is None


async def test_no_body_needs_no_announcement() -> None:
    for headers in (HEADERS, {**HEADERS, "content-length": "0"}):
        got = await read(request(Wire([]), headers.items()), WITHDRAW)

        assert got.failure is None


async def test_one_byte_order_mark_at_the_beginning_is_skipped() -> None:
    mark = b"\xef\xbb\xbf"

    assert (await inbound(mark + BODY)).fingerprint == (await inbound()).fingerprint
    for body in (mark, mark + mark + BODY, BODY + mark, b" " + mark + BODY):
        assert slug((await inbound(body)).failure) == "malformed-request"


def test_json_in_utf_8_is_supported() -> None:
    cases: list[str] = [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; Charset = utf-8 ",
        "application/json;",
        "application/json; version=1",
    ]
    for content_type in cases:
        reading.check_media_type(Headers({"content-type": content_type}))


def test_any_other_type_or_coding_is_not() -> None:
    cases: list[dict[str, str]] = [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-ndjson"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/jsonx"},
        {"content-type": "application/json, text/plain"},
        {"content-type": "application/json; charset=utf-8; charset=latin-1"},
        {"content-type": "application/json; charset"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ]
    for headers in cases:
        with pytest.raises(RequestProblem) as raised:
            reading.check_media_type(Headers(headers))

        assert slug(raised.value) == "unsupported-media-type"


def test_an_import_has_a_type_of_its_own() -> None:
    reading.check_media_type(Headers({"content-type": "application/x-ndjson"}), reading.NDJSON_TYPE)
    with pytest.raises(RequestProblem):
        reading.check_media_type(Headers({"content-type": "application/json"}), reading.NDJSON_TYPE)


def test_what_is_not_good_json_is_malformed() -> None:
    cases: list[tuple[bytes, str]] = [
        (b"", "Must be JSON. There is an error at line 1, column 1."),
        (b'{"reason":\n}', "Must be JSON. There is an error at line 2, column 1."),
        (BODY + b"{}", "Must be JSON. There is an error at line 1, column 26."),
        (b"\xef\xbb\xbf" + BODY, "Must be JSON. There is an error at line 1, column 1."),
        (b'{"reason":"\x00"}', "Must be JSON. There is an error at line 1, column 12."),
        (b'{"reason":"\xff"}', "Must be UTF-8."),
        *((BODY.decode().encode(coding), "Must be UTF-8. This looks like UTF-16.") for coding in ("utf-16", "utf-16-le", "utf-16-be")),
        *((BODY.decode().encode(coding), "Must be UTF-8. This looks like UTF-32.") for coding in ("utf-32", "utf-32-le", "utf-32-be")),
        (b'{"amount":NaN}', "Must be JSON, which has no NaN and no Infinity."),
        (b'{"amount":-Infinity}', "Must be JSON, which has no NaN and no Infinity."),
        (b'{"reason":"other","reason":"damaged"}', "An object must not contain the same name twice."),
        (b'{"items":[{"quantity":1,"quantity":1}]}', "An object must not contain the same name twice."),
        (b'{"amount":1' + b"0" * 5000 + b"}", "Contains a number with too many digits."),
        (b'{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}", "Has too many levels of nested values."),
        (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "Has too many levels of nested values."),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "Contains more than 10000 objects and arrays."),
        (b'{"note":"\\ud800"}', "Must be JSON whose strings are Unicode text and whose values are not nested too deep."),
        (b'{"\\udfff":1}', "Must be JSON whose strings are Unicode text and whose values are not nested too deep."),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "Has too many levels of nested values."),
    ]
    for raw, detail in cases:
        assert malformed(raw) == detail


def test_a_body_that_is_no_object_is_not_valid() -> None:
    for raw in [b"[]", b"null", b"5", b'"x"', b"true", b"[" * 30 + b"]" * 30]:
        with pytest.raises(RequestProblem) as raised:
            reading.parse_body(raw, Withdraw)

        assert slug(raised.value) == "validation-failed"
        assert told(raised.value) == [{"pointer": "", "detail": "Must be an object."}]


def test_an_array_beyond_all_bounds_is_one_error_and_not_one_for_each_entry() -> None:
    body = json.dumps({"reason": "damaged", "items": [{}] * 8739, "x" * 1000: [1] * 8739})

    with pytest.raises(RequestProblem) as raised:
        reading.parse_body(body.encode(), RequestCancellation)

    assert told(raised.value) == [
        {"pointer": "/items", "detail": "Must have at most 8738 entries."},
        {"pointer": "", "detail": "Must have at most 8738 entries."},
    ]


def test_of_arrays_beyond_all_bounds_no_more_are_told_than_a_person_reads() -> None:
    body = json.dumps({f"a{n}": [1] * 8739 for n in range(80)}, separators=(",", ":"))

    with pytest.raises(RequestProblem) as raised:
        reading.parse_body(body.encode(), RequestCancellation)

    errors = told(raised.value)
    assert len(errors) == 50


def test_a_number_that_is_no_amount_is_not_valid() -> None:
    for amount in [b"1e5", b"1.0", b"true", b'"5"', b"1" + b"0" * 400, b"1e999", b"-0"]:
        with pytest.raises(RequestProblem) as raised:
            reading.parse_body(b'{"reason":"damaged","amount":' + amount + b"}", RequestCancellation)

        assert slug(raised.value) == "validation-failed"


def test_a_key_is_the_same_bare_and_quoted() -> None:
    cases: list[tuple[str, str]] = [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (' "abc"\t', "abc"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        ('"a\\"b\\\\c"', 'a"b\\c'),
        ('a"b\\c', 'a"b\\c'),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
    ]
    for header, key in cases:
        assert reading.idempotency_key([header]) == key


def test_a_key_of_another_form_is_malformed() -> None:
    for headers in [[""], ['""'], ['"abc'], ['"a"b"'], ['"abc";q=1'], ["x" * 256], ["a b"], ["é"], ["a\x7f"], ['"a b"'], ["a", "a"]]:
        with pytest.raises(RequestProblem) as raised:
            reading.idempotency_key(headers)

        assert slug(raised.value) == "malformed-request"
        assert told(raised.value) == [
            {"pointer": "/headers/idempotency-key", "detail": "Must be sent once, as 1 to 255 visible ASCII characters."}
        ]


def test_if_match_names_the_versions_that_will_do() -> None:
    cases: list[tuple[list[str], set[int] | None]] = [
        ([], None),
        (["*"], None),
        (['"3"'], {3}),
        ([' "0" '], {0}),
        (['"3", "4"'], {3, 4}),
        (['"3"', '"5" ,"3"'], {3, 5}),
        (['"3",, "4",'], {3, 4}),
        (['W/"3"'], set()),
        (['W/"3", "4"'], {4}),
        (['"03"'], set()),
        (['"other", "3"'], {3}),
        (['"' + "9" * 5000 + '"'], set()),
        (['""'], set()),
    ]
    for headers, versions in cases:
        assert reading.read_if_match(headers) == versions, headers


def test_what_is_no_entity_tag_is_malformed() -> None:
    for headers in [["3"], [""], ['"3'], ['"3" "4"'], ['*, "3"'], ['"\u0663"'], ['w/"3"'], ['"a b"'], ['"3"', "4"], ["," * 5000]]:
        with pytest.raises(RequestProblem) as raised:
            reading.read_if_match(headers)

        assert slug(raised.value) == "malformed-request"
        assert [one["pointer"] for one in told(raised.value)] == ["/headers/if-match"]


@settings(max_examples=3 * settings().max_examples)
@given(raw=st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_a_body_or_a_problem(raw: bytes) -> None:
    for text in (raw, b'{"reason":"damaged","note":"' + raw + b'"}', b'{"reason":"damaged",' + raw + b"}"):
        try:
            outcome = reading.parse_body(text, RequestCancellation).reason.value
        except RequestProblem as problem:
            outcome = problem.problem.slug
        assert outcome in ("damaged", "malformed-request", "validation-failed")


@settings(max_examples=2 * settings().max_examples)
@given(
    chunks=st.lists(st.binary(max_size=40), max_size=4),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "content-length", "content-encoding", "idempotency-key", "if-match"]),
        st.text(st.characters(max_codepoint=255), max_size=20) | st.sampled_from(["application/json", '"3"', "k"]),
    ),
)
async def test_no_request_makes_the_reader_raise(chunks: list[bytes], headers: dict[str, str]) -> None:
    got = await read(request(Wire(chunks), headers.items()), CANCEL)

    assert (got.failure is None) == (got.body is not None)


@settings(max_examples=2 * settings().max_examples)
@given(members=st.dictionaries(st.sampled_from(["note", "client_reference"]), st.text(min_size=1, max_size=30)))
async def test_whatever_is_valid_has_a_fingerprint(members: dict[str, str]) -> None:
    got = await inbound(json.dumps({"reason": "damaged", **members}).encode())

    if got.failure is None:
        assert len(got.fingerprint) == 64
    else:
        assert slug(got.failure) == "validation-failed" or "\\ud" in json.dumps(members)


async def test_a_metadata_name_that_has_no_canonical_form_is_refused_before_it_needs_one() -> None:
    body = {"reference": "r", "wallet_id": "w", "merchant_id": "m", "amount": 1, "currency": "CNY", "metadata": {"é": "v"}}

    got = await inbound(json.dumps(body).encode(), called=REGISTER)

    assert slug(got.failure) == "validation-failed"
