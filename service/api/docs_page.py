"""The page that describes the interface to people: made of the OpenAPI document, and in need of nothing but itself."""

import html
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from service.api.docs_curl import SETUP, curl
from service.api.docs_schema import Member, Reader
from service.api.docs_style import DOCS_STYLE
from service.api.docs_words import breakable, code, docs_words, inline, paragraphs, prose
from service.api.i18n import Language, sentence
from service.api.openapi import document
from service.api.page_style import page, page_headers
from service.api.problems import PROBLEMS

Json = dict[str, Any]  # an OpenAPI document, or a part of one

DOCS_HEADERS: Final = page_headers(DOCS_STYLE)
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_SAID_OTHERWISE: Final = ("Roles: ", "Needs no token.")  # the page shows roles beside the call


@cache
def docs_page(language: Language, *, version: str) -> str:
    """The page about this `version` of the service; one text for all callers."""
    return rendered(document(version=version), language)


def rendered(api: Json, language: Language) -> str:
    """Any OpenAPI document of our making as a page."""
    return _Page(api, language).html()


class _Page:
    """One rendering: the document, the language's words, and where each code leads."""

    def __init__(self, api: Json, language: Language) -> None:
        self.api = api
        self.language = language
        self.word = docs_words(language)["words"]
        self.calls = [(path, method, told) for path, item in api["paths"].items() for method, told in item.items() if method in _METHODS]
        self.summaries: dict[str, str] = {told["operationId"]: told["summary"] for _, _, told in self.calls}
        self.links = {slug: f"/problems/{slug}" for slug in PROBLEMS}
        self.links |= {f"{method.upper()} {path}": f"#{told['operationId']}" for path, method, told in self.calls}
        self.common = self._common()
        self.models = list(dict.fromkeys([*self._models("2"), *self._models("4")]))
        self.reader = Reader(api["components"]["schemas"], language, self.links)
        self.answer_reader = Reader(api["components"]["schemas"], language, self.links, frozenset(self.models))

    def html(self) -> str:
        sections = "".join(self._section(tag) for tag in self.api["tags"])
        content = (
            f'<a class="skip" href="#top">{html.escape(self.word["skip"])}</a><div class="docs">{self._contents()}'
            f'<main id="top">{self._introduction()}{sections}{self._all_models()}</main></div>'
        )
        return page(self.word["title"], self.language, content, extra_style=DOCS_STYLE)

    # Around the calls.

    def _contents(self) -> str:
        info = self.api["info"]
        groups = "".join(
            f'<h2><a href="#tag-{_attribute(tag["name"])}">{self._tag(tag["name"])}</a></h2><ol>'
            + "".join(self._entry(method, told) for _, method, told in self._of_tag(tag["name"]))
            + "</ol>"
            for tag in self.api["tags"]
        )
        models = "".join(f'<li><a href="#{_attribute(name)}">{code(name)}</a></li>' for name in self.models)
        return (
            f'<nav aria-label="{_attribute(self.word["contents"])}">'
            f'<p class="name">{_text(info["title"])} <small>{_text(info["version"])}</small></p>'
            f'<a class="plain" href="#top">{_text(self.word["introduction"])}</a>'
            f'<a class="plain" href="/problems">{_text(self.word["problems_page"])}</a>'
            f'<a class="plain" href="/openapi.json">{_text(self.word["machine"])}</a>'
            f'{groups}<h2><a href="#models">{_text(self.word["models"])}</a></h2><ol>{models}</ol></nav>'
        )

    def _entry(self, method: str, told: Json) -> str:
        return f'<li><a href="#{_attribute(told["operationId"])}">{_method(method)}<span lang="en">{_text(told["summary"])}</span></a></li>'

    def _introduction(self) -> str:
        first, *rest = paragraphs(self.api["info"]["description"])
        every = self._table("parameter", (self._parameter(one) for one in self.common))
        return (
            f'<section class="intro"><h1>{_text(self.word["title"])}</h1><p class="lead" lang="en">{inline(first, self.links)}</p>'
            + "".join(prose(one, self.links) for one in rest)
            + (f"<h4>{_text(self.word['every_call'])}</h4>{every}" if every else "")
            + f"<h4>{_text(self.word['try'])}</h4><p>{_text(self.word['try_lead'])}</p>{_command(SETUP)}</section>"
        )

    def _section(self, tag: Json) -> str:
        calls = "".join(self._call(path, method, told) for path, method, told in self._of_tag(tag["name"]))
        return (
            f'<section><h2 id="tag-{_attribute(tag["name"])}">{self._tag(tag["name"])}</h2>{prose(tag["description"], self.links)}'
            f"{calls}</section>"
        )

    def _tag(self, name: str) -> str:
        return _text(docs_words(self.language)["tags"].get(name, name))

    def _of_tag(self, name: str) -> list[tuple[str, str, Json]]:
        return [call for call in self.calls if name in call[2]["tags"]]

    # One call.

    def _call(self, path: str, method: str, told: Json) -> str:
        name = _attribute(told["operationId"])
        said = "\n\n".join(part for part in paragraphs(told["description"]) if not part.startswith(_SAID_OTHERWISE))
        own = [one for one in self._parameters(told) if one not in self.common]
        parameters = self._table("parameter", (self._parameter(one) for one in own))
        return (
            f'<article id="{name}"><h3 lang="en"><a href="#{name}">{_text(told["summary"])}</a></h3>'
            f'<p class="call">{_method(method)} {code(path)}</p>{self._who(told)}{prose(said, self.links)}'
            + (f"<h4>{_text(self.word['parameters'])}</h4>{parameters}" if parameters else "")
            + self._body(told)
            + f"<h4>{_text(self.word['example'])}</h4>{_command(curl(method, path, told, self._parameters(told)))}"
            + f"<h4>{_text(self.word['answers'])}</h4>{self._answers(told)}{self._problems(told)}{self._next(told)}</article>"
        )

    def _who(self, told: Json) -> str:
        roles = "".join(f'<span class="pill">{_text(role)}</span>' for role in told.get("x-roles", ()))
        shown = roles or f'<span class="pill open">{_text(self.word["no_token"])}</span>'
        return f'<p class="who">{_text(self.word["who"])} {shown}</p>'

    def _parameters(self, told: Json) -> list[Json]:
        return [self._resolved(one) for one in told.get("parameters", ())]

    def _common(self) -> list[Json]:
        """What every call takes is said once."""
        lists = [self._parameters(told) for _, _, told in self.calls]
        return [one for one in lists[0] if all(one in others for others in lists)] if lists else []

    def _parameter(self, told: Json) -> tuple[Member, str]:
        member = self.reader.member(
            told["name"], {**told["schema"], "description": told.get("description", "")}, required=told.get("required", False)
        )
        return member, docs_words(self.language)["places"][told["in"]]

    def _body(self, told: Json) -> str:
        body = told.get("requestBody")
        if body is None:
            return ""
        [(kind, media)] = body["content"].items()
        schema = self._resolved(media["schema"])
        table = self._table("member", ((member, "") for member in self.reader.members(schema)))
        empty = "" if table or "properties" not in schema else f"<p>{_text(self.word['no_members'].format(braces='{}'))}</p>"
        optional = "" if body.get("required") or empty else f"<p>{_text(self.word['optional_body'])}</p>"
        lines = f"<pre><code>{_text(media['example'])}</code></pre>" if isinstance(media.get("example"), str) else ""
        return f"<h4>{_text(self.word['body'])} · {code(kind)}</h4>{optional}{empty}{table}{lines}"

    def _answers(self, told: Json) -> str:
        rows = []
        for status, response in _of_class(told, "2"):
            headers = " ".join(code(name) for name in response.get("headers", ()))
            kinds = " ".join(self._content(kind, media["schema"]) for kind, media in response["content"].items())
            said = f'<span lang="en">{inline(response["description"], self.links)}</span>'
            tail = f' <span class="soft">{_text(self.word["headers"])} {headers}</span>' if headers else ""
            rows.append(f"<dt>{_text(status)}</dt><dd>{said} {kinds}{tail}</dd>")
        return f'<dl class="statuses">{"".join(rows)}</dl>'

    def _content(self, kind: str, schema: Json) -> str:
        """Where the answer's members are told; its media type where it has none."""
        name, paged = self._model(schema)
        if name is None:
            return code(kind)
        link = f'<a href="#{_attribute(name)}">{_text(name)}</a>'
        return f"{_text(self.word['page_of'])} {link}" if paged else link

    def _problems(self, told: Json) -> str:
        rows = "".join(
            f"<dt>{_text(status)}</dt><dd>{' '.join(self._problem(slug) for slug in _slugs(response))}</dd>"
            for one in "45"
            for status, response in _of_class(told, one)
        )
        kinds = {
            self._content(kind, media["schema"]) for _, response in _of_class(told, "4") for kind, media in response["content"].items()
        }
        heading = " · ".join([_text(self.word["problems"]), *sorted(kinds)])
        return f'<h4>{heading}</h4><dl class="statuses bad">{rows}</dl>' if rows else ""

    def _problem(self, slug: str) -> str:
        title = sentence("titles", slug, self.language) if slug in PROBLEMS else slug
        return f'<a href="/problems/{_attribute(slug)}" title="{_attribute(title)}">{code(slug)}</a>'

    def _next(self, told: Json) -> str:
        names = dict.fromkeys(name for _, response in _of_class(told, "2") for name in response.get("links", ()))
        links = " ".join(f'<a lang="en" href="#{_attribute(name)}">{_text(self.summaries[name])}</a>' for name in names)
        return f'<h4>{_text(self.word["next"])}</h4><p class="next">{links}</p>' if links else ""

    # The answers' models.

    def _all_models(self) -> str:
        made = "".join(self._model_article(name) for name in self.models)
        return f'<section><h2 id="models">{_text(self.word["models"])}</h2><p>{_text(self.word["models_lead"])}</p>{made}</section>'

    def _model_article(self, name: str) -> str:
        schema = self.api["components"]["schemas"][name]
        example = "".join(
            f"<details><summary>{_text(self.word['example_answer'])}</summary>"
            f"<pre><code>{_text(json.dumps(one, ensure_ascii=False, indent=2))}</code></pre></details>"
            for one in schema.get("examples", ())
        )
        table = self._table("member", ((member, "") for member in self.answer_reader.members(schema)), answer=True)
        return (
            f'<article id="{_attribute(name)}"><h3><a href="#{_attribute(name)}">{_text(name)}</a></h3>'
            f"{prose(schema.get('description', ''), self.links)}{table}{example}</article>"
        )

    def _models(self, first: str) -> Iterator[str]:
        """What the answers of that class of status are made of."""
        for _, _, told in self.calls:
            for _, response in _of_class(told, first):
                for media in response["content"].values():
                    name, _ = self._model(media["schema"])
                    if name is not None:
                        yield name

    def _model(self, schema: Json) -> tuple[str | None, bool]:
        """The schema's name, or that of the entries where it is a page of them, and whether it is one. None for what has no members."""
        if "$ref" not in schema:
            return None, False
        members = self._resolved(schema).get("properties", {})
        if set(members) == {"data", "next_cursor"}:
            return str(members["data"]["items"]["$ref"]).rsplit("/", 1)[-1], True
        return (str(schema["$ref"]).rsplit("/", 1)[-1] if members else None), False

    def _resolved(self, told: Json) -> Json:
        if "$ref" not in told:
            return told
        kind, name = str(told["$ref"]).split("/")[-2:]
        found: Json = self.api["components"][kind][name]
        return found

    def _table(self, first: str, members: Iterable[tuple[Member, str]], *, answer: bool = False) -> str:
        """The rows under their headings; nothing where there are none."""
        rows = "".join(self._row(member, place, self._mark(member, answer)) for member, place in members)
        heads = "".join(f'<th scope="col">{_text(self.word[head])}</th>' for head in (first, "type", "constraint", "meaning"))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""

    def _mark(self, member: Member, answer: bool) -> str:
        """Callers look for what they must send; of an answer, what they cannot count on is the rarer thing."""
        if answer:
            return "" if member.required else _text(self.word["sometimes"])
        return f"<b>{_text(self.word['required'])}</b>" if member.required else ""

    def _row(self, member: Member, place: str, mark: str) -> str:
        within = f'<span class="within">{breakable(member.within)}</span>' if member.within else ""
        notes = " · ".join(filter(None, (_text(place), mark)))
        small = f"<small>{notes}</small>" if notes else ""
        limits = "".join(f"<div>{one}</div>" for one in member.constraints)
        return (
            f"<tr><td><code>{within}{breakable(member.name)}</code>{small}</td><td>{member.type}</td>"
            f'<td class="limits">{limits}</td><td lang="en">{member.meaning}</td></tr>'
        )


def _of_class(told: Json, first: str) -> list[tuple[str, Json]]:
    """The operation's answers whose status begins with that digit, in order."""
    return [(status, response) for status, response in told["responses"].items() if status.startswith(first)]


def _slugs(response: Json) -> list[str]:
    return [slug for media in response["content"].values() for slug in media.get("examples", ())]


def _method(method: str) -> str:
    return f'<span class="method {_attribute(method)}">{_text(method.upper())}</span>'


def _command(text: str) -> str:
    return f'<pre class="command"><code>{_text(text)}</code></pre>'


def _text(text: object) -> str:
    return html.escape(str(text), quote=False)


def _attribute(text: str) -> str:
    return html.escape(text)
