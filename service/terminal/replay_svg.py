"""The picture of a comparison: for each policy a bar, divided by who decides and by what is refused."""

from collections import Counter
from html import escape

from service.terminal.plain import plain
from service.terminal.replay_offline import Column, Comparison
from service.terminal.replay_offline_table import present, told_group
from workflows.domain.enums import Route

_WIDTH, _LEFT, _RIGHT = 760, 120, 24
_BAR, _STEP, _LEGEND_ROW, _LEGEND_COLUMN = 30, 66, 22, 215
_TITLE, _PER_ROW = 44, 3
_RULES_MAX = 5  # as many as have room in a line; the table has all
_DIGIT, _MARGIN = 8, 8  # what a number needs of its part's width
# By hue and by lightness, so that they can also be told apart without colour (after Okabe and Ito).
_COLOURS = {
    "void": "#56b4e9",
    "automatic": "#009e73",
    "return": "#0072b2",
    "merchant": "#f0c419",
    "agent": "#b565a7",
    "window-closed": "#d1495b",
    "limit-reached": "#a86b32",
}
_DECIDERS = frozenset(map(str, Route))
_OTHER_COLOUR = "#8c959f"
_DARK_TEXT = frozenset({"void", "merchant"})
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .quiet { fill: #57606a } .rules { font-size: 11px }
  .on { fill: #ffffff } .on-light { fill: #24292f }
  rect { stroke: #ffffff; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 }
    .on { fill: #ffffff } .on-light { fill: #24292f }
    rect { stroke: #0d1117 }
  }
"""


def picture(found: Comparison) -> str:
    """A whole SVG document; what it draws is in its description and its parts' titles too."""
    groups = present(found)
    rows = -(-len(groups) // _PER_ROW)
    top = _TITLE + _LEGEND_ROW * rows + 14
    height = top + _STEP * len(found.columns) + 30
    said = "; ".join(
        f"{column.name}: " + ", ".join(f"{told_group(g)} {column.count(g)}" for g in groups if column.count(g)) for column in found.columns
    )
    bars = [line for place, column in enumerate(found.columns) for line in _bar(column, groups, top + _STEP * place, found.taken)]
    days, reason = found.assumptions.delivered_after_days, found.assumptions.reason.value
    assumed = f"Assumed: goods arrive {days} {'day' if days == 1 else 'days'} after the payment, and the reason is {reason}."
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title said">',
            f'<title id="title">Who decides about the same cancellations</title><desc id="said">{_text(said)}</desc>',
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="12" y="24">Who decides about the same {found.taken:,} cancellations</text>',
            *(line for place, group in enumerate(groups) for line in _legend(group, place)),
            *bars,
            f'<text class="quiet" x="12" y="{height - 12}">{_text(assumed)}</text>',
            "</svg>",
            "",
        )
    )


def _bar(column: Column, groups: list[str], top: int, total: int) -> list[str]:
    base, x = top + 20, float(_LEFT)
    lines = [f'<text x="{_LEFT - 10}" y="{base}" text-anchor="end">{_text(column.name)}</text>']
    for group in groups:
        number = column.count(group)
        if not number:
            continue
        width = number * (_WIDTH - _LEFT - _RIGHT) / total
        said = f"{column.name}, {told_group(group)}: {number} of {total}"
        lines.append(
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{_colour(group)}"><title>{_text(said)}</title></rect>'
        )
        if width >= _DIGIT * len(f"{number:,}") + _MARGIN:
            ink = "on-light" if group in _DARK_TEXT else "on"
            lines.append(f'<text class="{ink}" x="{x + width / 2:.1f}" y="{base}" text-anchor="middle">{number:,}</text>')
        x += width
    rules = Counter({ending.rule: number for ending, number in column.counts.items() if ending.rule and ending.group in _DECIDERS})
    told = " · ".join(f"{rule} {number:,}" for rule, number in rules.most_common(_RULES_MAX))
    return [*lines, f'<text class="quiet rules" x="{_LEFT}" y="{top + _BAR + 15}">{_text(told)}</text>']


def _legend(group: str, place: int) -> tuple[str, str]:
    row, column = divmod(place, _PER_ROW)
    x, y = _LEFT + _LEGEND_COLUMN * column, _TITLE + _LEGEND_ROW * row
    return (
        f'<rect x="{x}" y="{y}" width="13" height="13" fill="{_colour(group)}"/>',
        f'<text x="{x + 19}" y="{y + 11}">{_text(told_group(group))}</text>',
    )


def _colour(group: str) -> str:
    return _COLOURS.get(group, _OTHER_COLOUR)


def _text(text: str) -> str:
    return escape(plain(text))
