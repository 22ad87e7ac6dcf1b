"""What a sentence of the service has to be, for tests in both languages."""

import re
import string
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from service.api.i18n import Language
from workflows.domain.enums import Anchor
from workflows.domain.errors import Window

EN, ZH = Language.en, Language.zh_CN
SHANGHAI = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 11, 25, 10, 30, tzinfo=UTC)
WINDOW = Window(Anchor.completed_at, datetime(2026, 11, 10, 8, 0, tzinfo=UTC), AT)
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:!?()]|[,;:!?()][\u4e00-\u9fff]|[\u4e00-\u9fff]\.")


def assert_is_a_sentence(text: str, spoken: Language) -> None:
    assert text == text.strip()
    assert "{" not in text
    if spoken is ZH:
        assert text.endswith("。")
        assert not HALF_WIDTH.search(text), text
    else:
        assert text.endswith(".")
        assert text.isascii()
        assert text[0].isupper()
        assert "  " not in text


def blanks(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
