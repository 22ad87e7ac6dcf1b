"""What the pages for people share: their looks, their frame, and the headers that keep all else out of them."""

import base64
import hashlib
import html
from typing import Final

from starlette.responses import HTMLResponse

from service.api.i18n import Language

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6876;--line:#dfe5eb;--page:#f6f8fa;--card:#fff;--mark:#0b6e6e;--bad:#a8391f}
@media (prefers-color-scheme:dark){
:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#2c3742;--page:#11171d;--card:#19212a;--mark:#5cc8c0;--bad:#f0937b}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.6 system-ui,-apple-system,"Segoe UI","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif}
main{max-width:44rem;margin:0 auto;padding:3rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.25;margin:.75rem 0 .25rem;text-wrap:balance}
h2{font-size:1rem;margin:2rem 0 .4rem;color:var(--soft);font-weight:600}
p,ul,ol,dl{margin:.4rem 0}
ol,ul{padding-left:1.3rem}
li{margin:.25rem 0}
a{color:var(--mark);text-decoration-thickness:1px;text-underline-offset:.2em}
a:focus-visible{outline:2px solid var(--mark);outline-offset:2px;border-radius:2px}
code,pre{font:.9em/1.55 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
.lead{font-size:1.1rem}
.soft{color:var(--soft)}
.status{display:inline-block;color:var(--bad);border:1px solid currentColor;border-radius:99px;padding:.05rem .7rem;font-size:.85rem}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;overflow-x:auto;margin:.5rem 0}
dl{display:grid;grid-template-columns:minmax(9rem,max-content) 1fr;gap:.3rem 1.25rem}
dt{font-weight:600}dd{margin:0}
table{border-collapse:separate;border-spacing:0;width:100%;
margin-top:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:10px}
td{padding:.6rem .9rem;border-top:1px solid var(--line);vertical-align:top}
tr:first-child td{border-top:0}
.problems td:first-child{color:var(--bad);width:3.5rem}
@media (max-width:34rem){main{padding-top:1.5rem}dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
""".strip()


def page(title: str, language: Language, content: str, *, extra_style: str = "") -> str:
    """A whole page around `content`, which is HTML already. `extra_style` is CSS of this page's own."""
    styles = f"<style>{STYLE}</style>" + (f"<style>{extra_style}</style>" if extra_style else "")
    return (
        f'<!doctype html><html lang="{language.value}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)} · Refundry</title>{styles}</head>"
        f"<body>{content}</body></html>\n"
    )


def page_headers(*extra_styles: str) -> dict[str, str]:
    """The page may use its own styles and nothing else, sends nothing anywhere, and stands in nobody's frame."""
    hashes = " ".join(f"'sha256-{_digest(style)}'" for style in (STYLE, *extra_styles))
    return {
        "content-security-policy": (f"default-src 'none'; style-src {hashes}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "public, max-age=3600",
        "vary": "accept-language",
    }


def page_response(made: str, language: Language, headers: dict[str, str]) -> HTMLResponse:
    """The page as it is sent, in the language that it names."""
    return HTMLResponse(made, headers={**headers, "content-language": language.value})


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
