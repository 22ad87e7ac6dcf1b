"""The documents: links, the commands that they name, the form of decisions, and the picture of the states."""

import re
from pathlib import Path

from tests import ROOT
from workflows.domain.machines import PAYMENT

GITHUB = ROOT / ".github"
DOCUMENTS = [ROOT / "README.md", *sorted(GITHUB.rglob("*.md"))]
NAMING_TARGETS = [ROOT / "README.md", GITHUB / "CONTRIBUTING.md", GITHUB / "PULL_REQUEST_TEMPLATE.md", GITHUB / "CHANGELOG.md"]
DECISIONS = sorted((GITHUB / "decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Consequence", "Alternatives"]

LINK = re.compile(r"\]\(([^()\s]+)\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#")  # another site, or another place of the same document
MAKE = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)  # in code, not in a sentence
TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_relative_link_leads_to_a_file() -> None:
    links = [(path, link) for path in DOCUMENTS for link in LINK.findall(text(path)) if not ELSEWHERE.match(link)]
    broken = [f"{path.relative_to(ROOT)}: {link}" for path, link in links if not (path.parent / link.partition("#")[0]).is_file()]

    assert len(links) > len(DECISIONS)
    assert broken == []


def test_every_make_target_that_is_named_exists() -> None:
    named = {target for path in NAMING_TARGETS for target in MAKE.findall(text(path))}

    assert {"run", "test", "check", "test-fast"} <= named
    assert named - set(TARGET.findall(text(ROOT / "Makefile"))) == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    assert DECISIONS
    assert [path.name[:5] for path in DECISIONS] == [f"{number:04d}-" for number in range(1, len(DECISIONS) + 1)]


def test_every_decision_has_its_form() -> None:
    for path in DECISIONS:
        title, *_ = text(path).splitlines()

        assert title.startswith(f"# {path.name[:4]} "), path.name
        assert re.findall(r"^## (.+)$", text(path), re.MULTILINE) == HEADINGS, path.name


def test_the_index_names_every_decision_by_its_title() -> None:
    index = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", text(GITHUB / "decisions" / "README.md"), re.MULTILINE)

    assert index == [(path.name[:4], path.name, text(path).splitlines()[0].removeprefix(f"# {path.name[:4]} ")) for path in DECISIONS]


def test_the_picture_shows_every_arrow_between_states() -> None:
    picture = text(GITHUB / "states.svg")
    arrows = re.findall(r'class="arrow[^"]*"[^>]* id="([a-z_]+)-([a-z_]+)"', picture)
    names = re.findall(r'class="name"[^>]*>([a-z_]+)<', picture)

    assert sorted(arrows) == sorted({(row.source.value, row.target.value) for row in PAYMENT.rows})
    assert sorted(names) == sorted({state for arrow in arrows for state in arrow})
