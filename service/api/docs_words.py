"""The words of the page that describes the interface, and the little Markdown that the descriptions are written in, as HTML."""

import html
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from service.api.i18n import Language

_INLINE: Final = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*")
_BLANK_LINE: Final = re.compile(r"\n\s*\n")


@cache
def docs_words(language: Language) -> dict[str, dict[str, str]]:
    """Section -> key -> word; KeyError where there is none."""
    text = files("service.api").joinpath("locales", f"docs.{language.name}.toml").read_text("utf-8")
    return tomllib.loads(text)


def paragraphs(text: str) -> list[str]:
    return [part.strip() for part in _BLANK_LINE.split(text) if part.strip()]


def prose(text: str, links: Mapping[str, str]) -> str:
    """The text as paragraphs of HTML. A code that `links` knows leads there."""
    return "".join(f'<p lang="en">{inline(part, links)}</p>' for part in paragraphs(text))


def inline(text: str, links: Mapping[str, str]) -> str:
    """One paragraph's text as HTML: codes, strong words, and nothing else; all else is escaped."""
    made, done = [], 0
    for found in _INLINE.finditer(text):
        made.append(html.escape(text[done : found.start()], quote=False))
        made.append(_code(found["code"], links) if found["code"] else f"<strong>{html.escape(found['strong'], quote=False)}</strong>")
        done = found.end()
    return "".join([*made, html.escape(text[done:], quote=False)])


def code(text: object) -> str:
    return f"<code>{html.escape(str(text), quote=False)}</code>"


def breakable(name: object) -> str:
    """A name that, where it is too long, breaks where a word of it ends."""
    return html.escape(str(name), quote=False).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _code(text: str, links: Mapping[str, str]) -> str:
    target = links.get(text)
    return code(text) if target is None else f'<a href="{html.escape(target)}">{code(text)}</a>'
