"""Reads a page for tests."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """What a page says, and what it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links, self.loads, self.inline = "", list[str](), list[str](), False
        self._within = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._within = tag
        given = dict(attributes)
        self.loads += [str(given[name]) for name in ("src", "spec-url") if name in given]
        if "href" in given:
            (self.links if tag == "a" else self.loads).append(str(given["href"]))
        self.inline |= any(name.startswith("on") or name == "style" for name in given)

    def handle_data(self, data: str) -> None:
        self.inline |= self._within in ("script", "style") and bool(data.strip())
        self.text += data
