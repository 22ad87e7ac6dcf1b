"""The page that describes the interface: whole, safe, in both languages, and in need of nothing from elsewhere."""

import base64
import hashlib
import html.parser
import json
import re
import shlex
import tomllib
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from typing import Any, cast

import pytest
from starlette.requests import Request

from service.api.calls import Call, Services
from service.api.docs_curl import SETUP, curl
from service.api.docs_page import DOCS_HEADERS, docs_page, rendered
from service.api.docs_schema import Reader
from service.api.docs_words import docs_words, inline, prose
from service.api.forms import FORMS
from service.api.i18n import Language
from service.api.openapi import document
from service.api.page_style import page_response
from service.api.problem_pages import PAGE_HEADERS
from service.api.problems import PROBLEMS
from service.api.rights import OPERATIONS, Operation, operation
from service.app import HANDLERS

VOID = {"meta", "br", "wbr"}
PAGES = {language: docs_page(language, version="1.2.3") for language in Language}
API = document(version="1.2.3")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]|[\u4e00-\u9fff]\.")
EVIL = "<img src=x onerror=alert(1)>\"'&`<b>`"


class Reading(html.parser.HTMLParser):
    """Checks that tags close as they open, and collects what stands where."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.seen: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.texts: dict[str, str] = {}  # article -> its text
        self.commands: list[str] = []
        self._article = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen[tag] += 1
        self.attributes.update(list(given))
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag == "article":
            self._article = given["id"] or ""
        if tag == "pre" and given.get("class") == "command":
            self.commands.append("")
        if tag not in VOID:
            self.open.append(f"{tag}.{given.get('class') or ''}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().split(".")[0] == tag
        if tag == "article":
            self._article = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._article] = self.texts.get(self._article, "") + data
        if "pre.command" in self.open:
            self.commands[-1] += data


READ = {language: Reading(page) for language, page in PAGES.items()}


def told(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = API["paths"][operation.path][operation.method.lower()]
    return found


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_operation_is_on_the_page_with_all_that_it_takes(operation: Operation, language: Language) -> None:
    text = READ[language].texts[operation.name]
    body = FORMS[operation.name].body

    assert text.count(operation.method + " " + operation.path) == 1
    assert operation.summary in text
    assert all(role.value in text for role in operation.roles or ())
    assert (docs_words(language)["words"]["no_token"] in text) == (operation.roles is None)
    assert all(slug in text for slug in operation.answers)
    assert all(name in text for name in (body.model_fields if body else ()))
    assert all(parameter["name"] in text for parameter in told(operation).get("parameters", ()) if "name" in parameter)
    assert ("Idempotency-Key" in text) >= operation.idempotent
    assert ("If-Match" in text) >= operation.if_match
    assert "Roles: " not in text


@pytest.mark.parametrize("language", list(Language))
def test_every_link_leads_somewhere(language: Language) -> None:
    found = READ[language]
    places = {f"#{name}" for name in found.ids} | {f"/problems/{slug}" for slug in PROBLEMS} | {"/problems", "/openapi.json"}

    assert set(found.links) <= places
    assert [name for name, count in Counter(found.ids).items() if count > 1] == []
    assert {f"#{operation.name}" for operation in OPERATIONS} <= set(found.links)


@pytest.mark.parametrize("language", list(Language))
def test_the_page_needs_nothing_but_itself(language: Language) -> None:
    page, found = PAGES[language], READ[language]

    assert found.seen.keys().isdisjoint({"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg", "video"})
    assert found.attributes.keys().isdisjoint({"src", "srcset", "style", "onclick", "onload", "action", "ping", "background"})
    assert set(re.findall(r"(?:\w+:)?//([^\s\"'<:/]+)", page)) == {"127.0.0.1"}  # in examples; no link leads there
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize("language", list(Language))
def test_the_policy_allows_exactly_the_pages_own_styles(language: Language) -> None:
    styles = re.findall(r"<style>(.*?)</style>", PAGES[language], re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in styles]
    policy = dict(part.split(" ", 1) for part in DOCS_HEADERS["content-security-policy"].split("; "))

    assert policy == {
        "default-src": "'none'",
        "style-src": " ".join(f"'sha256-{digest}'" for digest in digests),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert len(styles) == 2
    assert digests[0] in PAGE_HEADERS["content-security-policy"]


def test_a_page_is_sent_with_its_headers_and_its_language() -> None:
    sent = page_response("<p>好</p>", Language.zh_CN, DOCS_HEADERS)

    assert sent.body == "<p>好</p>".encode()
    assert sent.headers["content-type"] == "text/html; charset=utf-8"
    assert sent.headers["content-language"] == "zh-CN"
    assert {name: sent.headers[name] for name in DOCS_HEADERS} == DOCS_HEADERS
    assert "content-language" not in DOCS_HEADERS


@pytest.mark.parametrize("name", ["docs", "list_problems", "get_problem"])
@pytest.mark.parametrize(("accept", "spoken"), [("zh-CN,en;q=0.5", "zh-CN"), ("fr", "en")])
async def test_every_page_for_people_is_sent_under_its_policy(name: str, accept: str, spoken: str) -> None:
    scope = {"type": "http", "headers": [(b"accept-language", accept.encode())], "path_params": {"slug": "policy-refused"}}
    call = Call(Request(scope), cast(Services, None), operation(name), None)  # these pages ask nothing of the services

    sent = await HANDLERS[name](call)

    expected = DOCS_HEADERS if name == "docs" else PAGE_HEADERS
    assert {header: sent.headers[header] for header in expected} == expected
    assert sent.headers["content-language"] == spoken
    assert f'<html lang="{spoken}">'.encode() in sent.body


def test_what_must_be_sent_and_what_may_be_missing_are_marked() -> None:
    texts = READ[Language.en].texts

    assert "referencerequired" in texts["register_payment"]
    assert "order_referencerequired" not in texts["register_payment"]
    assert "required" not in texts["PaymentAnswer"]
    assert "not always" not in texts["PaymentAnswer"]
    assert "errorsnot always" in texts["ProblemAnswer"]
    assert "titlenot always" not in texts["ProblemAnswer"]


def test_the_pages_frame_is_in_the_readers_language_and_its_text_in_english() -> None:
    english, chinese = PAGES[Language.en], PAGES[Language.zh_CN]

    assert '<html lang="en">' in english
    assert '<html lang="zh-CN">' in chinese
    assert "Who may call" in english
    assert "Who may call" not in chinese
    assert "谁可以调用" in chinese
    assert re.search("[\u4e00-\u9fff]", english) is None
    assert '<span lang="en">Register a payment</span>' in chinese
    assert "1.2.3" in english


@pytest.mark.parametrize("language", list(Language))
def test_whatever_the_document_says_is_escaped(language: Language) -> None:
    evil = poisoned(API)
    read = Reading(rendered(evil, language))

    assert "img" not in read.seen
    assert read.seen["b"] == READ[language].seen["b"]
    assert read.attributes["onerror"] == 0
    assert sum(text.count("<img src=x onerror=alert(1)>") for text in read.texts.values()) > 500


def poisoned(value: Any, key: str = "") -> Any:
    """The document with every text that people wrote replaced by an attack."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [EVIL, *(poisoned(inner, key) for inner in value)] if key == "enum" else [poisoned(inner, key) for inner in value]
    return EVIL if key in {"summary", "description", "version", "default", "pattern", "const"} and isinstance(value, str) else value


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain & <simple>", "plain &amp; &lt;simple&gt;"),
        ("**Once** `a<b`", "<strong>Once</strong> <code>a&lt;b</code>"),
        ("see `not-found`.", 'see <a href="/problems/not-found"><code>not-found</code></a>.'),
        ("a * b ** c `", "a * b ** c `"),
        ("`**no**`", "<code>**no**</code>"),
        ("", ""),
    ],
)
def test_the_little_markdown(text: str, made: str) -> None:
    assert inline(text, {"not-found": "/problems/not-found"}) == made


def test_blank_lines_part_paragraphs() -> None:
    assert prose("one\nline\n\n \ntwo", {}) == '<p lang="en">one\nline</p><p lang="en">two</p>'


SCHEMAS: dict[str, Any] = {
    "Colour": {"type": "string", "enum": ["red", "blue"], "title": "Colour"},
    "Line": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    "Tree": {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Tree"}}},
}
NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "kind", "constraints"),
    [
        (
            {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
            "string",
            ("visible ASCII, no spaces", "1–64 characters"),
        ),
        ({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**15}, NULL]}, "integer or null", ("0–10¹⁵",)),
        ({"type": "integer", "minimum": 1}, "integer", ("≥ 1",)),
        ({"type": "integer", "maximum": 2500}, "integer", ("≤ 2,500",)),
        (
            {"$ref": "#/components/schemas/Colour", "default": "red"},
            "string",
            ("<code>red</code> <code>blue</code>", "<code>red</code> unless told"),
        ),
        ({"type": "boolean", "default": False}, "boolean", ("<code>false</code> unless told",)),
        ({"type": "string", "pattern": "^a<b$"}, "string", ("<code>^a&lt;b$</code>",)),
        ({"type": "string", "pattern": "^pay_[0-9a-f]{32}$"}, "string", ("<code>pay_</code> and 32 hex digits",)),
        ({"type": "string", "format": "date-time", "maxLength": 32}, "time", ()),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1}, "list of string", ("1 entries",)),
        ({"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Line"}}, NULL]}, "list of object or null", ()),
        ({}, "any", ()),
    ],
)
def test_a_schema_in_words(schema: dict[str, Any], kind: str, constraints: tuple[str, ...]) -> None:
    member = Reader(SCHEMAS, Language.en, {}).member("m", schema, required=True)

    assert (member.type, member.constraints) == (kind, constraints)


def test_many_choices_are_folded_and_all_there() -> None:
    member = Reader({}, Language.en, {}).member("m", {"enum": [f"v{i}" for i in range(17)]}, required=False)

    assert member.constraints[0].startswith("<details><summary>17 values</summary>")
    assert all(f"<code>v{i}</code>" in member.constraints[0] for i in range(17))


def test_members_within_members_follow_them_with_their_path() -> None:
    schema = {
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
            "one": {"$ref": "#/components/schemas/Line"},
        },
        "required": ["one"],
    }

    rows = [(one.within, one.name, one.required) for one in Reader(SCHEMAS, Language.en, {}).members(schema)]

    assert rows == [("", "lines", False), ("lines[].", "name", True), ("", "one", True), ("one.", "name", True)]


def test_a_schema_within_itself_ends() -> None:
    assert 2 <= len(list(Reader(SCHEMAS, Language.en, {}).members(SCHEMAS["Tree"]))) < 10


def test_what_has_a_table_of_its_own_is_linked_instead() -> None:
    reader = Reader(SCHEMAS, Language.en, {}, frozenset({"Line"}))
    schema = {"properties": {"lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}}}}

    assert [(one.name, one.type) for one in reader.members(schema)] == [("lines", 'list of <a href="#Line">Line</a>')]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_each_command_is_one_that_a_shell_reads_as_meant(operation: Operation) -> None:
    [command] = [one for one in READ[Language.en].commands if is_for(one, operation)]
    words = shlex.split(command)
    headers = dict(word.split(": ", 1) for flag, word in pairwise(words) if flag == "-H")

    assert words[0] == "curl"
    assert ("-X" in words) == (operation.method == "POST")
    assert (headers.get("Authorization") == "Bearer $TOKEN") == (operation.roles is not None)
    assert ("Idempotency-Key" in headers) == operation.idempotent
    assert "{" not in words[words.index("POST") + 1 if operation.method == "POST" else 1]
    body = FORMS[operation.name].body
    if body is not None:
        assert body.model_validate_json(words[words.index("-d") + 1])
        assert json.loads(words[words.index("-d") + 1]) == told(operation)["requestBody"]["content"]["application/json"]["example"]


def is_for(command: str, operation: Operation) -> bool:
    path = re.sub(r"\\\{\w+\\\}", r"[\\w.-]+", re.escape(operation.path))
    verb = "curl -X POST" if operation.method == "POST" else "curl"
    return re.match(rf'{verb} "\$BASE{path}"', command) is not None


def test_a_quote_in_an_example_does_not_leave_its_quotes() -> None:
    operation = {"operationId": "x", "requestBody": {"content": {"application/json": {"example": {"note": "it's; rm -rf $HOME `x`"}}}}}
    command = curl("post", "/x/{id}", operation, [{"name": "id", "in": "path", "required": True, "schema": {"example": 'a"/$(b)'}}])

    assert shlex.split(command)[-1] == '{"note": "it\'s; rm -rf $HOME `x`"}'
    assert '"$BASE/x/a%22%2F%24%28b%29"' in command


def test_the_setup_names_both_variables() -> None:
    assert READ[Language.en].commands[0] == SETUP
    assert {line.split("=")[0] for line in SETUP.splitlines()} == {"BASE", "TOKEN"}


def test_both_languages_have_the_same_words_with_the_same_blanks() -> None:
    english, chinese = (docs_words(language) for language in (Language.en, Language.zh_CN))
    assert {name: list(section) for name, section in english.items()} == {name: list(section) for name, section in chinese.items()}
    for name, section in english.items():
        for key, text in section.items():
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[name][key])), (name, key)
            assert not HALF_WIDTH.search(chinese[name][key]), (name, key)


def test_every_tag_and_every_place_has_its_word() -> None:
    words = tomllib.loads(files("service.api").joinpath("locales", "docs.en.toml").read_text("utf-8"))

    assert set(words["tags"]) >= {tag["name"] for tag in API["tags"]}
    assert set(words["places"]) == {"path", "query", "header"}


def test_no_pattern_of_ours_is_left_to_be_deciphered() -> None:
    """A pattern without words is shown as it is: right, and hard to read. New ones want a word in `docs_schema`."""
    assert re.findall(r"<code>\^[^<]*</code>", PAGES[Language.en]) == []
