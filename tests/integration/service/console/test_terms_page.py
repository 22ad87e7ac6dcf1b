"""The terms as a page: it says what the call says, in the reader's language, and nobody can write into it."""

from service.api.i18n import Language, words
from tests.harness import Api, assert_problem
from tests.integration.service.console.page_reader import Reader
from tests.integration.service.terms_calls import described, terms
from workflows.domain.enums import Category, Reason

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


async def page(api: Api, path: str, language: str = "en") -> tuple[str, Reader]:
    response = await api.http.get(path, headers={"accept-language": language})
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "public, max-age=60"
    assert "script" not in response.headers["content-security-policy"]
    return response.text, Reader(response.text)


async def test_the_page_says_what_the_call_says(api: Api) -> None:
    for language in Language:
        told, (html, found) = await terms(api, "merchant_id=shop-9", language), await page(api, "/terms/shop-9", language)

        assert f'<html lang="{language.value}">' in html
        assert not found.inline
        assert found.loads == ["/static/page.css"]
        said = " ".join(found.text.split())
        for stage in told["stages"]:
            assert stage["title"] in said
            for one in stage["options"]:
                assert all(period["message"] in said for period in one["periods"])
        reasons = words(language, "terms_reason")
        assert all(reasons[reason] in said for reason in Reason)
        assert html.count("<rect ") == html.count("<li class=")
        assert len(found.links) == len(Category)


async def test_the_page_takes_a_category_and_an_amount_and_passes_over_what_messengers_add(api: Api) -> None:
    html, found = await page(api, "/terms/shop-9?category=transfer&amount=13912&currency=CNY&from=singlemessage")

    assert "CNY 139.12" in found.text
    assert "365 days after payment" in found.text
    assert "/terms/shop-9?category=digital&amount=13912&currency=CNY" in found.links
    assert html.count('aria-current="page"') == 1
    for query, pointer in (("amount=1", "/query/currency"), ("category=shoes", "/query/category")):
        (error,) = assert_problem(await api.http.get(f"/terms/nobody?{query}"), 422, "validation-failed")["errors"]
        assert error["pointer"] == pointer


async def test_a_merchant_cannot_write_into_the_page(api: Api) -> None:
    contact = {"email": "help@sunny.example", "url": "https://sunny.example/?a='&b=(1)"}
    await described(api, "hostile", name=HOSTILE, contact=contact)

    html, found = await page(api, "/terms/hostile")
    unknown, _ = await page(api, "/terms/%3Cscript%3E/%22onload=%22")

    assert "<script" not in html + unknown
    assert not found.inline
    assert HOSTILE in found.text
    assert "mailto:help@sunny.example" in found.links


async def test_a_path_that_names_no_merchant_has_no_page(api: Api) -> None:
    for path in ("/terms/", "/terms/a%20b", "/terms/" + "a" * 65):
        assert_problem(await api.http.get(path), 404, "not-found")
