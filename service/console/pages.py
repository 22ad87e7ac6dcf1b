"""The pages for people: the interface's documentation, and each problem explained. They load nothing from elsewhere."""

import json
import tomllib
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from service.api.context import ForAnybody
from service.api.fixed_body import FixedBody, MadeOnce
from service.api.i18n import Language, sentence, words
from service.api.openapi import document_bytes
from service.api.problem_responses import problem_example
from service.api.problems import PROBLEMS, RETRY_AFTER_SECONDS, ProblemType
from service.api.reading import JSON_TYPE
from service.api.responses import streamed
from service.api.routing import ApiRoute
from workflows.domain.errors import NotFound

router = APIRouter(tags=["service"], route_class=ApiRoute)

_HTML: Final = "text/html"
_SAME: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "It is still the one named in `If-None-Match`; no body."}}
_OPENAPI_RESPONSES: Final = {**_SAME, 200: {"content": {JSON_TYPE: {"schema": {"type": "object", "additionalProperties": True}}}}}
_PAGE_RESPONSES: Final = {**_SAME, **streamed("text/html")}
Slug = Annotated[str, Path(description="The problem's `code`.", json_schema_extra={"enum": list(PROBLEMS)}, examples=["validation-failed"])]

_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "public, max-age=3600",
}
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
_PAGE: Final = _HEADERS | {"content-security-policy": _POLICY + "style-src 'self'", "vary": "accept-language"}
# Swagger UI and Redoc write styles of their own, Swagger UI draws with data: images, Redoc searches in a worker made of a blob. Both
# call this service, and nothing else.
_DOCS: Final = _HEADERS | {
    "content-security-policy": _POLICY
    + "script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src blob:"
}


def add_static(app: FastAPI) -> None:
    """The files that the pages load: ours, and those of Swagger UI and Redoc as a package on PyPI brings them."""
    app.mount("/static/docs", StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-files")
    app.mount("/static", StaticFiles(packages=[("service.console", "static")]), name="page-files")


@router.get("/", include_in_schema=False)
async def home(context: ForAnybody) -> Response:
    """People are led to the documentation, machines to the OpenAPI."""
    wants_page = "text/html" in context.headers.get("accept", "")
    return RedirectResponse("/docs" if wants_page else "/openapi.json", 303, {"vary": "accept"})


@router.get("/openapi.json", summary="Get the OpenAPI document", responses=_OPENAPI_RESPONSES)
async def openapi(context: ForAnybody) -> Response:
    """OpenAPI 3.1. It changes only with the version of the service: ask with `If-None-Match`."""
    made = await _openapi_of(context.app).get()
    return made.response(context, {"cache-control": "public, max-age=60"})


def _openapi_of(app: FastAPI) -> MadeOnce:
    if not hasattr(app.state, "openapi"):
        app.state.openapi = MadeOnce(lambda: FixedBody(document_bytes(app), JSON_TYPE))
    made: MadeOnce = app.state.openapi
    return made


@router.get("/docs", summary="Read the documentation", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def docs(context: ForAnybody) -> Response:
    """Swagger UI: every call, to be read and tried. *Authorize* takes a token."""
    return _docs_page("swagger.html").response(context, _DOCS)


@router.get("/redoc", summary="Read the reference", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def redoc(context: ForAnybody) -> Response:
    """Redoc: the same as one page to read."""
    return _docs_page("redoc.html").response(context, _DOCS)


@router.get("/problems", summary="List problems", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def list_problems(context: ForAnybody) -> Response:
    """A page for people, in their language."""
    return problem_index(context.language).response(context, page_headers(context.language))


@router.get("/problems/{slug}", summary="Explain a problem", response_class=HTMLResponse, responses=_PAGE_RESPONSES)
async def get_problem(context: ForAnybody, slug: Slug) -> Response:
    """A page for people: what happened, why, and what to do. It is where a problem's `type` leads."""
    if slug not in PROBLEMS:
        raise NotFound
    return problem_page(slug, context.language).response(context, page_headers(context.language))


@cache
def _docs_page(template: str) -> FixedBody:
    return FixedBody(render(template).encode(), _HTML)


@cache
def problem_index(language: Language) -> FixedBody:
    """The page that lists them all."""
    listed = [(problem, sentence("titles", slug, language)) for slug, problem in PROBLEMS.items()]
    return FixedBody(render("problems.html", language=language, label=words(language, "words"), problems=listed).encode(), _HTML)


@cache
def problem_page(slug: str, language: Language) -> FixedBody:
    """The page of one problem."""
    problem = PROBLEMS[slug]
    made = render(
        "problem.html",
        language=language,
        label=words(language, "words"),
        problem=problem,
        phrase=HTTPStatus(problem.status).phrase,
        title=sentence("titles", slug, language),
        told=explanation(slug, language),
        members={name: words(language, "member")[name] for name in problem.members},
        headers={name: words(language, "header")[name] for name in _headers(problem)},
        example=json.dumps(problem_example(slug, language), ensure_ascii=False, indent=2),
    )
    return FixedBody(made.encode(), _HTML)


def explanation(slug: str, language: Language) -> dict[str, Any]:
    """`happened`, `why`, and the steps to `do`."""
    return _explanations(language)[slug]


@cache
def _explanations(language: Language) -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("service.api").joinpath("locales", f"problems.{language.name}.toml").read_text("utf-8"))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("service.console"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(template: str, **values: object) -> str:
    """The page that this template makes."""
    return _environment().get_template(template).render(**values)


def page_response(made: str, language: Language, *, seconds: int = 3600) -> Response:
    """A page in that language, which may be kept for so long."""
    return HTMLResponse(made, headers=page_headers(language, seconds=seconds))


def page_headers(language: Language, *, seconds: int = 3600) -> dict[str, str]:
    """Those of a page in that language, which may be kept for so long."""
    return {**_PAGE, "content-language": language.value, "cache-control": f"public, max-age={seconds}"}


def _headers(problem: ProblemType) -> list[str]:
    named = {"unauthenticated": "WWW-Authenticate", "method-not-allowed": "Allow"}
    retry = ["Retry-After"] if problem.slug in RETRY_AFTER_SECONDS else []
    return [*retry, *([named[problem.slug]] if problem.slug in named else [])]
