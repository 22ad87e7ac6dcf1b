"""The one byte form of a JSON value: RFC 8785, restricted to what records may hold.

Strings, integers below 2^53, booleans, null, lists and objects with ASCII keys. For these msgspec's encoder with sorted keys already
writes what RFC 8785 asks for; floats, greater integers, other keys, lone surrogates and great depth are refused instead of rewritten.
"""

from json import JSONDecoder
from typing import Any, NoReturn

from msgspec.json import Encoder

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 32


def canonical(value: Any) -> bytes:  # Any: the whole point is to refuse what is not in the restricted form
    """The canonical bytes of `value`; ValueError (or its UnicodeEncodeError) for what the restricted form cannot hold."""
    check(value)
    return canonical_unchecked(value)


def check(value: Any, depth: int = DEPTH_MAX) -> None:  # Any: see canonical()
    """Raise ValueError unless `value` is in the restricted form. Lone surrogates are left to the encoding that follows."""
    if isinstance(value, str) or value is None or value is True or value is False:
        return
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise ValueError("an integer that not every reader can hold exactly")
        return
    if depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        for key, member in value.items():
            # Beyond ASCII the order of keys by code point and by UTF-16 unit, which RFC 8785 asks for, may differ.
            if not (isinstance(key, str) and key.isascii()):
                raise ValueError("a key that is not ASCII text")
            if not isinstance(member, str):  # most are, and a call for each costs more than the look
                check(member, depth - 1)
    elif isinstance(value, list | tuple):
        for member in value:
            check(member, depth - 1)
    else:
        raise ValueError(f"{type(value).__name__} has no canonical form")


# As `canonical`, for a value whose parts were checked already.
canonical_unchecked = Encoder(order="sorted").encode


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} has no canonical form")


# Reads JSON, and refuses with a ValueError the numbers that have no canonical form. What it does not refuse is written again as it
# was, so that bytes can be compared without a walk through every member.
DECODER = JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)
