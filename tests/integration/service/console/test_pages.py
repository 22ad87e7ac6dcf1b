"""The pages for people: they lead on, say their language, and load nothing from elsewhere."""

import json
import re

import pytest

from service.api.i18n import Language
from service.api.problems import PROBLEMS
from service.console.pages import explanation
from tests.harness import Api
from tests.integration.service.console.page_reader import Reader


async def test_people_are_led_to_the_documentation_and_machines_to_the_openapi(api: Api) -> None:
    person = await api.http.get("/", headers={"accept": "text/html,*/*"})
    machine = await api.http.get("/", headers={"accept": "application/json"})

    assert (person.status_code, person.headers["location"]) == (303, "/docs")
    assert (machine.status_code, machine.headers["location"]) == (303, "/openapi.json")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/problems", "/problems/policy-refused", "/terms/shop-1"])
async def test_a_page_loads_only_what_this_service_serves(api: Api, path: str) -> None:
    response = await api.http.get(path)
    found, policy = Reader(response.text), response.headers["content-security-policy"]

    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    assert not found.inline
    assert found.loads
    for one in found.loads:
        assert one.startswith("/"), one
        assert (await api.http.get(one)).status_code == 200, one


async def test_each_problem_has_a_page_that_explains_it_in_both_languages(api: Api) -> None:
    for language in Language:
        headers = {"accept-language": language.value}
        index = Reader((await api.http.get("/problems", headers=headers)).text)
        assert index.links == [f"/problems/{slug}" for slug in PROBLEMS]
        for slug, problem in PROBLEMS.items():
            response = await api.http.get(f"/problems/{slug}", headers=headers)
            found, told = Reader(response.text), explanation(slug, language)
            assert f'<html lang="{language.value}">' in response.text
            said = (told["happened"], told["why"], *told["do"], *problem.members, slug, str(problem.status))
            assert all(text in found.text for text in said), slug
            assert found.links == ["/problems"]
            assert json.loads(found.text[found.text.rindex('{\n  "type"') :])["code"] == slug


async def test_there_is_no_page_for_what_is_no_problem(api: Api) -> None:
    for slug in ("nonsense", "%3Cscript%3E", "..%2Fetc%2Fpasswd", "Not-Found"):
        response = await api.http.get(f"/problems/{slug}")
        assert (response.status_code, "script" in response.text) == (404, "Cscript" in slug), slug
