"""The problems that the OpenAPI shows at each route are those that the route names, each with an example."""

from collections.abc import Iterator
from typing import Any

import pytest

from service.api.problems import PROBLEMS
from service.api.routing import ApiRoute
from tests.unit.service.api.openapi_document import ROUTES, described, validator

pytestmark = pytest.mark.slow  # the document takes seconds to make


def test_an_operation_names_every_problem_that_it_may_answer_with_and_shows_it() -> None:
    fits = validator({"$ref": "#/components/schemas/Problem"})
    for route in ROUTES:
        shown = dict(_examples(route))

        assert {slug: status for slug, (status, _) in shown.items()} == {slug: str(PROBLEMS[slug].status) for slug in route.slugs}, (
            route.name
        )
        wrong = [
            slug
            for slug, (_, example) in shown.items()
            if example["code"] != slug or not set(PROBLEMS[slug].members) <= set(example) or not fits(example)
        ]
        assert wrong == [], route.name


def _examples(route: ApiRoute) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    for status, response in described(route)["responses"].items():
        media = response.get("content", {}).get("application/problem+json", {})
        yield from ((slug, (status, example["value"])) for slug, example in media.get("examples", {}).items())
