"""What the OpenAPI says of each route: who may call it, its parameters, and the headers of its answers."""

import json

import pytest

from tests.unit.service.api.openapi_document import BY_NAME, ROUTES, described, resolved

pytestmark = pytest.mark.slow  # the document takes seconds to make


def test_an_operation_says_what_it_is_and_who_may_call_it() -> None:
    for route in ROUTES:
        found = described(route)
        roles = sorted(route.roles or ())

        assert found["operationId"] == route.name
        assert 2 <= len(found["summary"].split()) <= 5, route.name
        assert found["summary"][0].isupper(), route.name
        assert found["tags"], route.name
        assert found["description"] != found["summary"], route.name
        assert found["security"] == ([] if route.roles is None else [{"bearerAuth": []}]), route.name
        assert found.get("x-roles") == (None if route.roles is None else roles), route.name
        assert [role for role in roles if role not in found["description"]] == [], route.name


def test_an_operation_names_its_parameters() -> None:
    for route in ROUTES:
        parameters = [resolved(parameter) for parameter in described(route)["parameters"]]
        by_name = {parameter["name"]: parameter for parameter in parameters}
        in_path = {part[1:-1] for part in route.path_format.split("/") if part.startswith("{")}
        has_version = (route.is_command or route.methods == {"PUT"}) and bool(in_path)

        assert len(by_name) == len(parameters), route.name
        assert {name for name, one in by_name.items() if one["in"] == "path"} == in_path, route.name
        assert [one["name"] for one in parameters if one["in"] == "path" and not one["required"]] == [], route.name
        assert [one["name"] for one in parameters if not one.get("description")] == [], route.name
        assert [one["name"] for one in parameters if "null" in json.dumps(one["schema"])] == [], route.name
        assert ("Idempotency-Key" in by_name) is route.is_command, route.name
        assert ("If-Match" in by_name) is ("version-mismatch" in route.slugs) is has_version, route.name


def test_success_and_problems_are_told_with_their_headers() -> None:
    asked = described(BY_NAME["request_cancellation"])["responses"]
    read = described(BY_NAME["get_payment"])["responses"]["200"]["headers"]

    words = {"Request-Id", "Content-Language", "Vary"}
    assert set(asked["201"]["headers"]) == set(asked["200"]["headers"]) == {"Location", "ETag", "Idempotent-Replayed", *words}
    assert set(read) == {"ETag", *words}
    assert "WWW-Authenticate" in asked["401"]["headers"]
    assert ["Idempotent-Replayed" in asked[status]["headers"] for status in ("409", "422", "412")] == [True, True, False]
    assert all("Retry-After" in asked[status]["headers"] for status in ("409", "429", "503"))


def test_every_operation_names_its_headers_on_every_answer() -> None:
    for route in ROUTES:
        good = {status: one for status, one in described(route)["responses"].items() if status < "400"}
        assert good, route.name
        for status, one in described(route)["responses"].items():
            assert "Request-Id" in one["headers"], (route.name, status)
        for one in good.values():
            assert ("Idempotent-Replayed" in one["headers"]) is route.is_command, route.name
            assert ("Content-Language" in one["headers"]) is ("Vary" in one["headers"]) is route.is_in_words, route.name
