"""What a payment's reference at the sandbox rail asks the rail to do wrong, and random faults with a seed.

    slow:2s,pending:5s|ch_123
    └─ words, comma-separated ┘ └─ the real reference, if one is wanted

A reference in which no word is one of ours is a plain reference, and the rail behaves: real references must not break it.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

DURATION_MS_MAX = 7 * 24 * 3600 * 1000
SLOW_MS_MAX = 60_000
UNAVAILABLE_CALLS_MAX = 1_000
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|)")
_FAILURE_CODE = re.compile(r"[a-z0-9_]{1,40}")


class UnreadableFault(Exception):
    """A word that looks like a fault and cannot be read as one; its text is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How the rail behaves; the defaults are a rail without faults."""

    slow_ms: int = 0  # works that long before the effect
    pending_ms: int | None = None  # accepts, and confirms that much later
    decline: str | None = None  # the failure code
    timeout_after_effect: bool = False
    timeout_before_effect: bool = False
    unavailable: int = 0  # how many calls get 503 before the first that is heard
    drop_notification: bool = False
    duplicate_notification: bool = False
    early_notification: bool = False  # the notification arrives before the reply
    requires_action: bool = False
    return_after_ms: int | None = None  # sends a succeeded refund back that much later
    garbage: bool = False  # the effect, then an unreadable reply
    captured_meanwhile: bool = False  # a void finds the payment settled


NONE = Faults()


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFaults:
    """Random faults, the same for the same seed, operation, key and attempt, in whatever order the calls come."""

    rate: float = 0.0
    kinds: tuple[str, ...] = ()
    seed: int = 0

    def draw(self, operation: Literal["send", "find", "cancel"], rail_key: str, attempt: int) -> Faults:
        if self.rate <= 0 or not self.kinds:
            return NONE
        digest = hashlib.sha256(f"{self.seed}\0{operation}\0{rail_key}\0{attempt}".encode()).digest()
        if int.from_bytes(digest[:8], "big") >= self.rate * 2**64:
            return NONE
        return _read([self.kinds[int.from_bytes(digest[8:16], "big") % len(self.kinds)]])


# Those that a caller must survive without a person: they lose, delay or repeat words, and leave the outcome as it is.
KINDS_DEFAULT = (
    "timeout_after_effect",
    "timeout_before_effect",
    "unavailable",
    "garbage",
    "slow:200ms",
    "pending:1s",
    "drop_notification",
    "duplicate_notification",
    "early_notification",
)


def parse_faults(provider_reference: str) -> Faults:
    """The faults that a reference asks for. Raises UnreadableFault."""
    words = [word.strip() for word in provider_reference.partition("|")[0].split(",")]
    if not any(_name(word) in _WORDS for word in words):
        return NONE
    return _read(words)


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Raises UnreadableFault unless each of them is a fault's word."""
    for kind in kinds:
        _read([kind])


def for_attempt(requested: Faults, random_faults: Faults, attempt: int) -> Faults:
    """What happens at one attempt, counted from 1.

    What loses an answer happens at the first attempt that is heard, so that sending again under the same key comes through; `unavailable`
    is then 1 where this very call is turned away.
    """
    first = attempt == requested.unavailable + 1
    now = replace(
        requested,
        unavailable=int(attempt <= requested.unavailable),
        timeout_after_effect=requested.timeout_after_effect and first,
        timeout_before_effect=requested.timeout_before_effect and first,
        garbage=requested.garbage and first,
    )
    return _merge(now, random_faults)


def _merge(under: Faults, over: Faults) -> Faults:
    given = {field.name: getattr(over, field.name) for field in fields(Faults)}
    return replace(under, **{name: value for name, value in given.items() if value != getattr(NONE, name)})


def _name(word: str) -> str:
    return word.partition(":")[0]


def _read(words: list[str]) -> Faults:
    found: dict[str, Any] = {}  # the fields' types differ; each is made by its own reader below
    for word in words:
        name, colon, argument = word.partition(":")
        if name not in _WORDS:
            raise UnreadableFault(f"{word!r} is not a fault of the sandbox; it knows {', '.join(_WORDS)}.")
        field, default, read = _WORDS[name]
        if field is None:
            continue
        if read is None and colon:
            raise UnreadableFault(f"{name!r} takes no argument, but got {argument!r}.")
        found[field] = read(argument) if read is not None and colon else default
    return Faults(**found)


def _duration_ms(argument: str, most: int = DURATION_MS_MAX) -> int:
    match = _DURATION.fullmatch(argument)
    if match is None:
        raise UnreadableFault(f"{argument!r} is not a duration; write 5s, 500ms, or a number of seconds.")
    milliseconds = round(float(match[1]) * (1 if match[2] == "ms" else 1000))
    if milliseconds > most:
        raise UnreadableFault(f"{argument!r} is longer than the {most // 1000} s that the sandbox allows here.")
    return milliseconds


def _slow_ms(argument: str) -> int:
    return _duration_ms(argument, SLOW_MS_MAX)


def _calls(argument: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", argument) or int(argument) > UNAVAILABLE_CALLS_MAX:
        raise UnreadableFault(f"{argument!r} is not a number of calls from 0 to {UNAVAILABLE_CALLS_MAX}.")
    return int(argument)


def _failure_code(argument: str) -> str:
    if not _FAILURE_CODE.fullmatch(argument):
        raise UnreadableFault(f"{argument!r} is not a failure code; write 1 to 40 of a-z, 0-9 and underscore.")
    return argument


_Reader = Callable[[str], int | str]

# word -> the field that it sets, the field's value for the bare word, what reads the argument
_WORDS: dict[str, tuple[str | None, int | str | bool, _Reader | None]] = {
    "ok": (None, True, None),
    "slow": ("slow_ms", 2_000, _slow_ms),
    "pending": ("pending_ms", 5_000, _duration_ms),
    "decline": ("decline", "do_not_honour", _failure_code),
    "timeout_after_effect": ("timeout_after_effect", True, None),
    "timeout_before_effect": ("timeout_before_effect", True, None),
    "unavailable": ("unavailable", 1, _calls),
    "drop_notification": ("drop_notification", True, None),
    "duplicate_notification": ("duplicate_notification", True, None),
    "early_notification": ("early_notification", True, None),
    "requires_action": ("requires_action", True, None),
    "return_after": ("return_after_ms", 10_000, _duration_ms),
    "garbage": ("garbage", True, None),
    "captured_meanwhile": ("captured_meanwhile", True, None),
}
