"""Reads what callers send to the sandbox rail, and refuses what is not well-formed with a sentence."""

import json
import math
import re
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request

from service.sandbox.book import Instruction, Kind
from service.sandbox.faults import KINDS_DEFAULT as KINDS
from service.sandbox.faults import Chance, UnreadableFault, check_kinds, parse

BODY_BYTES_MAX = 16 * 1024
REFERENCE_LENGTH_MAX = 512
AMOUNT_MAX = 10**15
KINDS_MAX = 32
PAGE_MAX = 10_000
_KEY = re.compile(r"[0-9A-Za-z_-]{1,64}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_INSTRUCTION = {"rail_key", "payment_reference", "provider_reference", "amount", "currency"}
_SEQ_MAX = 2**63 - 1


class Malformed(Exception):
    """Nothing was done; `detail` says why, to a person."""

    def __init__(self, detail: str, status: int = 400, code: str = "invalid_request") -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code


async def instruction(request: Request, kind: Kind) -> Instruction:
    body = await _object(request)
    if set(body) != _INSTRUCTION:
        raise Malformed(f"The members must be exactly {', '.join(sorted(_INSTRUCTION))}.")
    amount = body["amount"]
    if type(amount) is not int or not 1 <= amount <= AMOUNT_MAX:
        raise Malformed("amount must be an integer from 1 to 10^15, in the currency's minor unit.")
    asked = Instruction(
        kind=kind,
        rail_key=_matching("rail_key", body["rail_key"], _KEY),
        payment_reference=_text("payment_reference", body["payment_reference"], least=1),
        provider_reference=_text("provider_reference", body["provider_reference"], least=0),
        amount=amount,
        currency=_matching("currency", body["currency"], _CURRENCY),
    )
    try:
        parse(asked.provider_reference)
    except UnreadableFault as why:
        raise Malformed(str(why)) from why
    return asked


async def chance(request: Request) -> Chance:
    body = await _object(request)
    rate, kinds, seed = body.pop("rate", None), body.pop("kinds", None), body.pop("seed", 0)
    if body:
        raise Malformed("The members are rate, kinds and seed.")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or not 0 <= rate <= 1:
        raise Malformed("rate must be a number from 0 to 1.")
    if type(seed) is not int or abs(seed) > _SEQ_MAX:
        raise Malformed("seed must be an integer of 64 bits.")
    kinds = list(KINDS) if kinds is None else kinds
    if not isinstance(kinds, list) or len(kinds) > KINDS_MAX or not all(isinstance(kind, str) for kind in kinds):
        raise Malformed(f"kinds must be a list of at most {KINDS_MAX} fault words.")
    try:
        check_kinds(tuple(kinds))
    except UnreadableFault as why:
        raise Malformed(str(why)) from why
    return Chance(rate=float(rate), kinds=tuple(kinds), seed=seed)


def page(query: QueryParams) -> tuple[str | None, int, int | None]:
    """payment_reference, after, limit; without a limit, all."""
    if set(query) - {"payment_reference", "after", "limit"}:
        raise Malformed("The parameters are payment_reference, after and limit.")
    after = _number("after", query.get("after", "0"), _SEQ_MAX)
    limit = _number("limit", query["limit"], PAGE_MAX) if "limit" in query else None
    if limit == 0:
        raise Malformed(f"limit must be from 1 to {PAGE_MAX}.")
    return query.get("payment_reference"), after, limit


async def _object(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Malformed(f"A body may have {BODY_BYTES_MAX} bytes.", 413, "body_too_large")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as why:
        raise Malformed("The body is not JSON.") from why
    if not isinstance(value, dict):
        raise Malformed("The body must be a JSON object.")
    return value


def _text(name: str, value: object, *, least: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= REFERENCE_LENGTH_MAX or not value.isprintable():
        raise Malformed(f"{name} must be {least} to {REFERENCE_LENGTH_MAX} printable characters.")
    return value


def _matching(name: str, value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Malformed(f"{name} must match {form.pattern}.")
    return value


def _number(name: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > most:
        raise Malformed(f"{name} must be a whole number up to {most}.")
    return int(text)
