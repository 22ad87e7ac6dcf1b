"""The picture of a comparison: XML, with the numbers of the table beside it."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from service.terminal.replay_offline_table import print_comparison
from service.terminal.replay_svg import picture
from tests import ROOT
from tests.unit.service.terminal.comparing import SVG, TWO, compared


def test_the_picture_is_xml_and_has_the_tables_numbers(folder: Path) -> None:
    found = compared(folder, TWO)
    console = Console(file=io.StringIO(), width=120)

    print_comparison(console, found)
    root = ET.fromstring(picture(found))  # noqa: S314 -- our own

    table = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    rows = {line[:30].strip(): line.split()[-2:] for line in table.splitlines() if re.search(r"\d$", line.rstrip()) and line[:1] == " "}
    drawn: dict[tuple[str, str], int] = {}
    ends: dict[str, float] = {}
    for rect in root.iter(f"{SVG}rect"):
        if (title := rect.find(f"{SVG}title")) is not None:
            name, group, number = re.fullmatch(r"([\w-]+), (.*): (\d+) of 9", title.text or "").groups()  # type: ignore[union-attr]  # the form is asserted so
            drawn[name, group] = int(number)
            left, width = float(rect.get("x", "0")), float(rect.get("width", "0"))
            assert left == pytest.approx(ends.get(name, 120), abs=0.2)  # where the one before it ended
            assert width == pytest.approx(616 * int(number) / 9, abs=0.1)
            ends[name] = left + width
    assert len(drawn) >= 10
    for (name, group), number in drawn.items():
        assert rows[group][TWO.index(name)] == str(number)
    assert [sum(number for (name, _), number in drawn.items() if name == one) for one in TWO] == [9, 9]
    assert ends == pytest.approx(dict.fromkeys(TWO, 736), abs=0.2)
    assert rows["all"] == ["9", "9"]


def test_a_name_in_a_picture_is_text(folder: Path) -> None:
    found = compared(folder, ["cn-wallet"])
    found.columns[0].name = "<b>&"

    assert ET.fromstring(picture(found)).find(f"{SVG}text") is not None  # noqa: S314 -- our own


def test_the_readmes_table_and_the_picture_beside_it_have_the_same_numbers() -> None:
    root = ROOT
    drawing = ET.parse(root / ".github" / "policies.svg").getroot()  # noqa: S314 -- our own
    said = drawing.findtext(f"{SVG}desc") or ""
    lines = [line.strip("| ").split(" | ") for line in (root / "README.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    heading = next(cells for cells in lines if cells[-1] == "`us-wallet`")
    rows = {cells[0]: [int(cell.replace(",", "")) for cell in cells[1:]] for cells in lines if cells[0] in {"all", *_groups(said)}}

    drawn = {name: _parts(parts) for name, parts in (column.split(": ", 1) for column in said.split("; "))}

    assert len(drawn) == 4
    for place, name in enumerate(heading[-4:]):
        assert {group: rows[group][place] for group in rows if group != "all" and rows[group][place]} == drawn[name.strip("`")]
        assert rows["all"][place] == sum(drawn[name.strip("`")].values())
    rules = {cell for cells in lines for cell in cells if re.fullmatch(r"[a-z-]+ [0-9,]+", cell)}
    pictured = {part for text in drawing.iter(f"{SVG}text") for part in (text.text or "").split(" · ")}
    assert rules == {part for part in pictured if re.fullmatch(r"[a-z-]+ [0-9,]+", part)} != set()


def _parts(text: str) -> dict[str, int]:
    return {part.rpartition(" ")[0]: int(part.rpartition(" ")[2]) for part in text.split(", ")}


def _groups(said: str) -> set[str]:
    return {group for column in said.split("; ") for group in _parts(column.split(": ", 1)[1])}
