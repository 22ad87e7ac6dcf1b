"""The pages that explain each problem to a person: HTML that needs nothing but itself."""

import html
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from service.api.i18n import Language, NextStep, next_steps, sentence, words
from service.api.page_style import page, page_headers
from service.api.problems import PROBLEMS, RETRY_AFTER_SECONDS, ProblemType, fault_body, problem_body
from workflows.domain.enums import Anchor, Refusal
from workflows.domain.faults import Fault, FaultCode

PAGE_HEADERS: Final = page_headers()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a page tells of one problem."""

    happened: str
    why: str
    do: tuple[str, ...]


def problem_page(slug: str, language: Language) -> str | None:
    """The page of one problem, or None where there is no such problem."""
    problem = PROBLEMS.get(slug)
    if problem is None:
        return None
    told = explanation(slug, language)
    label = words(language, "words")
    title = sentence("titles", slug, language)
    steps = "".join(f"<li>{html.escape(step)}</li>" for step in told.do)
    return _page(
        title,
        language,
        f'<p class="soft"><a href="/problems">{html.escape(label["all_problems"])}</a></p>'
        f"<h1>{html.escape(title)}</h1>"
        f'<p><span class="status">{problem.status} {_phrase(problem.status)}</span> <code class="soft">{slug}</code></p>'
        f'<p class="lead">{html.escape(told.happened)}</p>'
        f"<h2>{html.escape(label['why'])}</h2><p>{html.escape(told.why)}</p>"
        f"<h2>{html.escape(label['do'])}</h2><ol>{steps}</ol>"
        + _terms(label["members"], {name: words(language, "member")[name] for name in problem.members})
        + _terms(label["headers"], {name: words(language, "header")[name] for name in _headers(problem)})
        + f"<h2>{html.escape(label['example'])}</h2><pre><code>{html.escape(_example(problem, language), quote=False)}</code></pre>",
    )


def problem_index(language: Language) -> str:
    """The page that lists them all."""
    label = words(language, "words")
    rows = "".join(
        f'<tr><td>{problem.status}</td><td><a href="/problems/{slug}">{html.escape(sentence("titles", slug, language))}</a>'
        f'<br><code class="soft">{slug}</code></td></tr>'
        for slug, problem in PROBLEMS.items()
    )
    title = label["problems"]
    return _page(
        title,
        language,
        f'<h1>{html.escape(title)}</h1><p class="lead">{html.escape(label["problems_lead"])}</p>'
        f'<table class="problems"><tbody>{rows}</tbody></table>',
    )


def explanation(slug: str, language: Language) -> Explanation:
    return _explanations(language)[slug]


@cache
def _explanations(language: Language) -> dict[str, Explanation]:
    text = files("service.api").joinpath("locales", f"problems.{language.name}.toml").read_text("utf-8")
    return {slug: Explanation(told["happened"], told["why"], tuple(told["do"])) for slug, told in tomllib.loads(text).items()}


def _page(title: str, language: Language, content: str) -> str:
    return page(title, language, f"<main>{content}</main>")


def _terms(heading: str, terms: dict[str, str]) -> str:
    """A list of names with their meanings; nothing where there are none."""
    if not terms:
        return ""
    rows = "".join(f"<dt><code>{name}</code></dt><dd>{html.escape(meaning)}</dd>" for name, meaning in terms.items())
    return f"<h2>{html.escape(heading)}</h2><dl>{rows}</dl>"


def _headers(problem: ProblemType) -> list[str]:
    named = {"unauthenticated": "WWW-Authenticate", "method-not-allowed": "Allow"}
    retry = ["Retry-After"] if problem.slug in RETRY_AFTER_SECONDS else []
    return [*retry, *([named[problem.slug]] if problem.slug in named else [])]


def _phrase(status: int) -> str:
    return html.escape(HTTPStatus(status).phrase)


def _example(problem: ProblemType, language: Language) -> str:
    """An answer with made-up members, as the service itself would write it, indented."""
    message = sentence("refusal", Refusal.window_closed, language)
    given: dict[str, object] = {
        "cancellation_id": "can_019aa8c04e5b7c3d9f10a2b3c4d5e6f7",
        "state": "refunded",
        "available_actions": [],
        "current_version": 7,
        "amount_refundable": 1250,
        "errors": [fault_body(Fault("/amount", FaultCode.below_minimum, {"minimum": 1}), language)],
        "refusal": Refusal.window_closed,
        "rule": "ask-the-merchant",
        "policy_version": "2026-11-a",
        "window": {"anchor": Anchor.completed_at, "opens_at": "2026-11-01T08:30:00Z", "closes_at": "2026-11-16T08:30:00Z"},
        "message": message,
        "next_steps": next_steps(_example_steps(problem), language),
    }
    members = {name: given[name] for name in problem.members}
    detail = (
        sentence("token", "expired", language)
        if problem.slug == "unauthenticated"
        else sentence("details", problem.slug, language, **members)
    )
    body = problem_body(
        problem.slug,
        detail=detail,
        instance="/v1/payments/pay_019aa8bf31f28a6cb1d7e8f9a0b1c2d3/cancellations",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        language=language,
        members=members,
    )
    return json.dumps(json.loads(body), ensure_ascii=False, indent=2)


def _example_steps(problem: ProblemType) -> list[NextStep]:
    if problem.slug == "partial-not-supported":
        return [NextStep.modifications]
    return [NextStep.contact_merchant, NextStep.contact_support]
