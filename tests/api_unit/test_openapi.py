"""The OpenAPI document: whole, valid, and as strict as the service itself."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from service.api import bodies, examples
from service.api.forms import FORMS
from service.api.openapi import document
from service.api.problems import PROBLEMS, RequestProblem
from service.api.reading import idempotency_key, parse_body
from service.api.rights import OPERATIONS, Operation
from service.api.schemas import Body

DOCUMENT = document(version="1.2.3")
SCHEMAS = DOCUMENT["components"]["schemas"]

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


def told(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.method.lower()]
    return found


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        place: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        node = place
    return node


def accepts(schema: dict[str, Any], value: object) -> bool:
    whole = {**schema, "components": {"schemas": SCHEMAS}}
    return jsonschema_rs.validator_for(whole, validate_formats=True).is_valid(value)


def nodes(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from nodes(one)
    elif isinstance(value, list):
        for one in value:
            yield from nodes(one)


def test_every_operation_has_a_form_and_every_form_an_operation() -> None:
    assert set(FORMS) == {operation.name for operation in OPERATIONS}


def test_the_document_has_the_operations_of_the_table_and_no_others() -> None:
    found = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}

    assert found == {(operation.path, operation.method) for operation in OPERATIONS}


def test_it_is_valid_openapi_by_an_independent_judge() -> None:
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(DOCUMENT)))

    schema.validate()

    assert len(list(schema.get_all_operations())) == len(OPERATIONS)


def test_it_is_made_once_for_each_version() -> None:
    assert document(version="1.2.3") is DOCUMENT
    assert document(version="2")["info"]["version"] == "2"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert "pseudonyms" in DOCUMENT["info"]["description"]


def test_every_reference_leads_somewhere() -> None:
    for node in nodes(DOCUMENT):
        if isinstance(node.get("$ref"), str):
            assert resolved(node)


def test_every_link_leads_to_an_operation_and_names_parameters_that_it_has() -> None:
    known = {operation.name: operation for operation in OPERATIONS}
    links = [link for node in nodes(DOCUMENT["paths"]) if isinstance(node.get("links"), dict) for link in node["links"].values()]

    assert len(links) > 15
    for link in links:
        target = told(known[link["operationId"]])
        names = {resolved(parameter)["name"] for parameter in target["parameters"]}
        assert {name.rpartition(".")[2] for name in link["parameters"]} <= names


@each_operation
def test_an_operation_says_what_it_is_and_who_may_call_it(operation: Operation) -> None:
    found = told(operation)

    assert found["operationId"] == operation.name
    assert found["tags"] == [operation.tag]
    assert found["summary"] == operation.summary
    assert found["description"]
    if operation.roles is None:
        assert found["security"] == []
        assert "x-roles" not in found
    else:
        assert found["security"] == [{"bearerAuth": []}]
        assert found["x-roles"] == sorted(operation.roles)
        assert all(role in found["description"] for role in operation.roles)


@each_operation
def test_an_operation_names_its_parameters(operation: Operation) -> None:
    parameters = [resolved(parameter) for parameter in told(operation)["parameters"]]
    by_name = {parameter["name"]: parameter for parameter in parameters}

    assert len(by_name) == len(parameters)
    in_path = {name for name, one in by_name.items() if one["in"] == "path"}
    assert in_path == {part[1:-1] for part in operation.path.split("/") if part.startswith("{")}
    assert all(by_name[name]["required"] for name in in_path)
    assert ("Idempotency-Key" in by_name) is operation.idempotent
    assert ("If-Match" in by_name) is operation.if_match
    in_query = {name for name, one in by_name.items() if one["in"] == "query"}
    assert len(in_query) == len(FORMS[operation.name].query.model_fields)


@each_operation
def test_an_operation_names_every_problem_that_it_may_answer_with_and_shows_it(operation: Operation) -> None:
    shown: dict[str, dict[str, Any]] = {}
    for status, response in told(operation)["responses"].items():
        media = response["content"].get("application/problem+json")
        for slug, example in (media["examples"] if media else {}).items():
            assert status == str(PROBLEMS[slug].status)
            shown[slug] = example["value"]

    assert set(shown) == set(operation.answers)
    for slug, example in shown.items():
        assert example["code"] == slug
        assert set(PROBLEMS[slug].members) <= set(example)
        assert accepts({"$ref": "#/components/schemas/ProblemAnswer"}, example)


@each_operation
def test_success_is_told_with_its_headers(operation: Operation) -> None:
    form, responses = FORMS[operation.name], told(operation)["responses"]
    good = {int(status) for status in responses if status < "300"}

    assert good == set(form.statuses)
    for status in good:
        headers = set(responses[str(status)].get("headers", {}))
        assert ("Location" in headers) is (201 in form.statuses)
        assert ("ETag" in headers) is form.etag
        assert ("Idempotent-Replayed" in headers) is operation.idempotent
        assert set(responses[str(status)]["content"]) == set(form.media_types)


def test_problems_name_the_headers_that_come_with_them() -> None:
    responses = told(next(one for one in OPERATIONS if one.name == "request_cancellation"))["responses"]

    assert "WWW-Authenticate" in responses["401"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]
    assert "Retry-After" in responses["429"]["headers"]
    assert "Retry-After" in responses["409"]["headers"]  # idempotency-in-flight
    assert "Idempotent-Replayed" in responses["409"]["headers"]
    assert "Idempotent-Replayed" not in responses["412"]["headers"]


@pytest.mark.parametrize(
    ("name", "required"),
    [("register_payment", True), ("fail_payment", True), ("complete_payment", False), ("withdraw_cancellation", False)],
)
def test_a_body_is_required_where_it_must_say_something(name: str, required: bool) -> None:
    body = told(next(one for one in OPERATIONS if one.name == name))["requestBody"]

    assert body["required"] is required


def test_the_import_takes_ndjson() -> None:
    body = told(next(one for one in OPERATIONS if one.name == "import_payments"))["requestBody"]["content"]

    assert list(body) == ["application/x-ndjson"]
    for line in body["application/x-ndjson"]["example"].splitlines():
        parse_body(line.encode(), bodies.RegisterPayment)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.body is not None])
def test_the_example_of_a_body_is_accepted_by_its_schema_and_by_the_service(name: str) -> None:
    model = FORMS[name].body
    media = told(next(one for one in OPERATIONS if one.name == name))["requestBody"]["content"]["application/json"]

    assert model is not None
    assert accepts(media["schema"], media["example"])
    parse_body(json.dumps(media["example"]).encode(), model)


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ("PaymentAnswer", examples.PAYMENT),
        ("CancellationAnswer", examples.CANCELLATION),
        ("RefundAnswer", examples.REFUND),
        ("EligibilityAnswer", examples.ELIGIBILITY),
        ("RecordAnswer", examples.RECORD),
        ("ImportAnswer", examples.IMPORT),
        ("MetaAnswer", examples.META),
    ],
)
def test_the_examples_of_answers_fit_their_schemas(schema: str, example: dict[str, Any]) -> None:
    assert SCHEMAS[schema]["examples"] == [example]
    assert accepts({"$ref": f"#/components/schemas/{schema}"}, example)


PAYMENT = {"reference": "r-1", "wallet_id": "w", "merchant_id": "m", "amount": 100, "currency": "CNY"}
REQUEST = {"reason": "changed_mind"}
WELL_FORMED_OR_NOT = [
    *(
        (bodies.RegisterPayment, {**PAYMENT, "completed_at": text}, good)
        for text, good in [
            ("2026-11-22T08:26:00Z", True),
            ("2026-11-22t08:26:00.123456z", True),
            ("2026-11-22T08:26:00+00:00", True),
            ("1970-01-01T00:00:00Z", True),
            ("9999-12-31T23:59:59Z", True),
            ("1969-12-31T23:59:59Z", False),
            ("2026-02-30T08:26:00Z", False),
            ("2026-11-22T24:00:00Z", False),
            ("2026-11-22T08:26:60Z", False),
            ("2026-11-22T08:26:00.1234567Z", True),
            ("2026-11-22T08:26:00." + "9" * 43 + "Z", True),
            ("2026-11-22T08:26:00." + "9" * 44 + "Z", False),
            ("2026-11-22T08:26:00-00:00", True),
            ("2026-12-31T23:59:60Z", True),
            ("2026-11-22T08:26:00+08:00", False),
            ("2026-11-22T08:26:00", False),
            ("2026-11-22 08:26:00Z", False),
            ("2026-11-22", False),
            ("", False),
            (0, False),
            (None, False),
        ]
    ),
    *((bodies.RegisterPayment, {**PAYMENT, "currency": code}, good) for code, good in [("JPY", True), ("XXX", False), ("cny", False)]),
    *(
        (bodies.RegisterPayment, {**PAYMENT, "amount": amount}, good)
        for amount, good in [
            (1, True),
            (10**15, True),
            (0, False),
            (10**15 + 1, False),
            (-1, False),
            ("1", False),
            (1.5, False),
            (True, False),
        ]
    ),
    *(
        (bodies.RegisterPayment, {**PAYMENT, "reference": text}, good)
        for text, good in [
            ("A_z.9:-", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("", False),
            ("a b", False),
            ("a\n", False),
            ("é", False),
        ]
    ),
    *(
        (bodies.RegisterPayment, {**PAYMENT, "wallet_id": text}, good)
        for text, good in [("!~", True), ("a b", False), ("", False), ("ü", False), ("a\n", False)]
    ),
    *(
        (bodies.RegisterPayment, {**PAYMENT, "order_reference": text}, good)
        for text, good in [("订单 1", True), ("", False), ("a\tb", False), ("a\x85", False), ("x" * 255, True), ("x" * 256, False)]
    ),
    *(
        (bodies.RegisterPayment, {**PAYMENT, "metadata": value}, good)
        for value, good in [
            ({"city": "杭州"}, True),
            ({}, True),
            ({"": "x"}, False),
            ({"城": "x"}, False),
            ({"k" * 41: "x"}, False),
            ({"k": "x" * 201}, False),
            ({"k": 1}, False),
            ({f"k{n}": "" for n in range(20)}, True),
            ({f"k{n}": "" for n in range(21)}, False),
        ]
    ),
    (bodies.RegisterPayment, {**PAYMENT, "surprise": 1}, False),
    (bodies.RegisterPayment, {"reference": "r-1"}, False),
    (bodies.RegisterPayment, [], False),
    (bodies.RegisterPayment, {**PAYMENT, "funding": []}, False),
    (bodies.RegisterPayment, {**PAYMENT, "items": []}, True),
    *(
        (bodies.RequestCancellation, {**REQUEST, "note": text}, good)
        for text, good in [("no, thank you\n", True), ("   ", False), ("\n\t", False), ("", False), ("x\x00", False), ("x" * 2001, False)]
    ),
    (bodies.RequestCancellation, {**REQUEST, "items": []}, False),
    (bodies.RequestCancellation, {**REQUEST, "expected_refundable": 0}, True),
    (bodies.RequestCancellation, {"reason": "nonsense"}, False),
    (bodies.RequestCancellation, {"reason": "other"}, False),
    (bodies.RequestCancellation, {"reason": "other", "note": None}, False),
    (bodies.RequestCancellation, {"reason": "other", "note": "moved house"}, True),
    (bodies.RequestCancellation, {**REQUEST, "amount": 1, "items": [{"reference": "A", "quantity": 1}]}, False),
    (bodies.RequestCancellation, {**REQUEST, "amount": None, "items": [{"reference": "A", "quantity": 1}]}, False),
    (bodies.RequestCancellation, {**REQUEST, "amount": 1, "items": None}, False),
]


@pytest.mark.parametrize(("model", "value", "good"), WELL_FORMED_OR_NOT)
def test_schema_and_service_agree_on_what_is_well_formed(model: type[Body], value: object, good: bool) -> None:
    try:
        parse_body(json.dumps(value).encode(), model)
        taken = True
    except RequestProblem:
        taken = False

    assert taken is good
    assert accepts({"$ref": f"#/components/schemas/{model.__name__}"}, value) is good


@pytest.mark.parametrize(
    ("key", "good"),
    [("k", True), ("a" * 255, True), ("a" * 256, False), ("", False), ("a b", False), ("ü", False), ('a"b', True), ('"open', False)],
)
def test_schema_and_service_agree_on_bare_idempotency_keys(key: str, good: bool) -> None:
    schema = DOCUMENT["components"]["parameters"]["IdempotencyKey"]["schema"]
    try:
        taken = idempotency_key([key]) is not None
    except RequestProblem:
        taken = False

    assert taken is good
    assert accepts(schema, key) is good
