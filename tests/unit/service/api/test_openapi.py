"""The OpenAPI document: whole, valid, and as strict as the service itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from service.api.models import cancellations, payments
from service.api.problems import RequestProblem
from service.api.reading import idempotency_key, parse_body
from service.api.routing import ApiRoute
from service.api.types import Body
from tests.unit.service.api.openapi_document import BY_NAME, ROUTES, accepts, described, resolved, schemas, whole

pytestmark = pytest.mark.slow  # the document takes seconds to make


def nodes(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from nodes(one)
    elif isinstance(value, list):
        for one in value:
            yield from nodes(one)


def test_it_is_valid_openapi_by_an_independent_judge_and_has_every_route() -> None:
    validate(json.loads(json.dumps(whole())))

    found = {(path, method.upper()) for path, item in whole()["paths"].items() for method in item}
    assert found == {(route.path_format, route.operation.method) for route in ROUTES}


def test_every_reference_leads_somewhere_and_nothing_is_left_unused() -> None:
    used = {node["$ref"] for node in nodes(whole()) if isinstance(node.get("$ref"), str)}

    assert all(resolved({"$ref": one}) for one in used)
    assert {f"#/components/schemas/{name}" for name in schemas()} <= used


def links() -> Iterator[tuple[ApiRoute, str, dict[str, Any]]]:
    """Each link, after the operation and the status that it comes from."""
    for route in ROUTES:
        for status, response in described(route)["responses"].items():
            for link in response.get("links", {}).values():
                yield route, status, link


def test_every_link_says_where_it_leads_and_names_parameters_that_are_there() -> None:
    found = list(links())

    assert len(found) > 100
    for _, _, link in found:
        names = {resolved(parameter)["name"] for parameter in described(BY_NAME[link["operationId"]])["parameters"]}
        assert {name.rpartition(".")[2] for name in link["parameters"]} <= names
        assert link["description"] == f"{BY_NAME[link['operationId']].summary}."


def test_every_link_takes_its_parameters_from_what_is_there() -> None:
    for route, status, link in links():
        for expression in link["parameters"].values():
            place, _, path = expression.partition("#/" if "#" in expression else "path.")
            if place == "$request.":
                assert f"{{{path}}}" in route.path_format
                continue
            assert place == "$response.body"
            schema = resolved(described(route)["responses"][status]["content"]["application/json"]["schema"])
            for name in path.split("/"):
                member = schema["items"] if name.isdigit() else schema["properties"][name]
                options = [resolved(one) for one in member.get("anyOf", [member]) if one.get("type") != "null"]
                (schema,) = options
            assert schema["type"] == "string", (route.name, expression)


def test_the_links_lead_from_the_registration_to_every_step_of_a_payments_life() -> None:
    reached, new = set[str](), {"register_payment"}
    while new:
        reached |= new
        new = {link["operationId"] for route, _, link in links() if route.name in new} - reached

    steps = {route.name for route in ROUTES if route.actions and "{anomaly_id}" not in route.path_format}
    assert len(steps) == 18
    assert steps <= reached


def test_every_member_of_an_answer_says_what_it_is() -> None:
    silent = [
        (name, key)
        for name, schema in schemas().items()
        if name != "WhenOut" and not name.startswith("Page_")  # its own description says it for all; of a page as well
        for key, member in schema.get("properties", {}).items()
        if not member.get("description") and not (member.get("$ref") and resolved(member).get("description"))
    ]

    assert silent == []
    assert not [name for name, schema in schemas().items() if not schema.get("description") and not name.startswith("Page_")]


def test_a_body_is_required_where_it_must_say_something() -> None:
    bodies_ = {name: described(route).get("requestBody", {}).get("required", False) for name, route in BY_NAME.items()}

    assert [name for name, required in bodies_.items() if not required and "POST" in (BY_NAME[name].methods or ())] == [
        "next_cancellation",
        "withdraw_cancellation",
        "escalate_cancellation",
        "assign_cancellation",
        "approve_cancellation",
        "retry_cancellation",
        "close_cancellation",
        "complete_payment",
    ]


def test_the_examples_of_bodies_are_accepted_by_the_schema_and_by_the_service() -> None:
    shown = [(route, described(route)["requestBody"]["content"]["application/json"]) for route in ROUTES if route.body_model]

    assert len(shown) == 24
    for route, media in shown:
        assert route.body_model is not None
        assert accepts(media["schema"], media["example"]), route.name
        parse_body(json.dumps(media["example"]).encode(), route.body_model)
    lines = described(BY_NAME["import_payments"])["requestBody"]["content"]["application/x-ndjson"]["example"]
    for line in lines.splitlines():
        parse_body(line.encode(), payments.RegisterPayment)


def test_the_examples_of_members_fit_their_schemas() -> None:
    members = [(name, key, member) for name, schema in schemas().items() for key, member in schema.get("properties", {}).items()]

    examples = [(name, key, member, example) for name, key, member in members for example in member.get("examples", ())]

    assert len(examples) > 60
    assert not [(name, key) for name, key, member, example in examples if not accepts(member, example)]


def test_generators_find_what_they_need() -> None:
    """No `default` on optional members of requests, which makes them required in some languages; no rule that demands a `note`."""
    requests = {schemas()[route.body_model.__name__]["description"]: route.body_model.__name__ for route in ROUTES if route.body_model}

    for name in requests.values():
        schema = schemas()[name]
        assert not {"allOf", "anyOf", "oneOf", "not"} & set(schema), name
        optional = [member for key, member in schema["properties"].items() if key not in schema.get("required", ())]
        assert not [member for member in optional if "default" in member], name
    bodies = [described(route)["requestBody"]["content"]["application/json"]["schema"] for route in ROUTES if route.body_model]
    assert not [body for body in bodies if "default" in body]
    assert "system" not in json.dumps(schemas()["RequestCancellation"])
    assert schemas()["RecordOut"]["properties"]["type"]["type"] == "string"
    assert "enum" not in schemas()["RecordOut"]["properties"]["type"]
    states = next(one for one in map(resolved, described(BY_NAME["list_payments"])["parameters"]) if one["name"] == "state")
    assert states["schema"] == {"$ref": "#/components/schemas/PaymentState"}


PAYMENT = {"reference": "r-1", "wallet_id": "w", "merchant_id": "m", "amount": 100, "currency": "CNY"}

REQUEST = {"reason": "changed_mind"}

WELL_FORMED_OR_NOT: list[tuple[type[Body], object, bool]] = [
    *(
        (payments.RegisterPayment, {**PAYMENT, "completed_at": text}, good)
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
    *((payments.RegisterPayment, {**PAYMENT, "currency": code}, good) for code, good in [("JPY", True), ("XXX", False), ("cny", False)]),
    *(
        (payments.RegisterPayment, {**PAYMENT, "amount": amount}, good)
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
        (payments.RegisterPayment, {**PAYMENT, "reference": text}, good)
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
        (payments.RegisterPayment, {**PAYMENT, "wallet_id": text}, good)
        for text, good in [("!~", True), ("a b", False), ("", False), ("ü", False), ("a\n", False)]
    ),
    *(
        (payments.RegisterPayment, {**PAYMENT, "order_reference": text}, good)
        for text, good in [("订单 1", True), ("", False), ("a\tb", False), ("a\x85", False), ("x" * 255, True), ("x" * 256, False)]
    ),
    *(
        (payments.RegisterPayment, {**PAYMENT, "metadata": value}, good)
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
    (payments.RegisterPayment, {**PAYMENT, "surprise": 1}, False),
    (payments.RegisterPayment, {"reference": "r-1"}, False),
    (payments.RegisterPayment, [], False),
    (payments.RegisterPayment, {**PAYMENT, "funding": []}, False),
    (payments.RegisterPayment, {**PAYMENT, "items": []}, True),
    *(
        (cancellations.RequestCancellation, {**REQUEST, "note": text}, good)
        for text, good in [("no, thank you\n", True), ("   ", False), ("\n\t", False), ("", False), ("x\x00", False), ("x" * 2001, False)]
    ),
    (cancellations.RequestCancellation, {**REQUEST, "items": []}, False),
    (cancellations.RequestCancellation, {**REQUEST, "expected_refundable": 0}, True),
    (cancellations.RequestCancellation, {"reason": "nonsense"}, False),
    (cancellations.RequestCancellation, {"reason": "other", "note": None}, False),
    (cancellations.RequestCancellation, {"reason": "other", "note": "moved house"}, True),
    (cancellations.RequestCancellation, {**REQUEST, "amount": None, "items": [{"reference": "A", "quantity": 1}]}, False),
    (cancellations.RequestCancellation, {**REQUEST, "amount": 1, "items": None}, False),
]


def test_schema_and_service_agree_on_what_is_well_formed() -> None:
    for model, value, good in WELL_FORMED_OR_NOT:
        try:
            parse_body(json.dumps(value).encode(), model)
            taken = True
        except RequestProblem:
            taken = False

        assert taken is good, value
        assert accepts({"$ref": f"#/components/schemas/{model.__name__}"}, value) is good, value


def test_schema_and_service_agree_on_bare_idempotency_keys() -> None:
    schema = whole()["components"]["parameters"]["IdempotencyKey"]["schema"]
    cases = [("k", True), ("a" * 255, True), ("a" * 256, False), ("", False), ("a b", False), ("ü", False), ('a"b', True), ('"open', False)]
    for key, good in cases:
        try:
            taken = idempotency_key([key]) is not None
        except RequestProblem:
            taken = False

        assert taken is good, key
        assert accepts(schema, key) is good, key
