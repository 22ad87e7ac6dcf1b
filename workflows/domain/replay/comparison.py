"""What a payment's records tell, field by field beside what its rows say."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct

from workflows.domain import ids
from workflows.domain.canonical import canonical
from workflows.domain.records import digest_text
from workflows.domain.replay.story import Story
from workflows.domain.replay.told import Facts

Row: TypeAlias = Mapping[str, Any]  # as PostgreSQL writes it as JSON

# What a difference is about.
REFERENCE = "payment_id_is_its_reference"
PAYMENT = "records_tell_the_payment"
CANCELLATIONS = "records_tell_the_cancellations"
LEGS = "records_tell_the_legs"
ANOMALIES = "records_tell_the_anomalies"
TEXTS = "texts_have_their_digests"
REPLAYED = (REFERENCE, PAYMENT, CANCELLATIONS, LEGS, ANOMALIES, TEXTS)
_STEP = ("action", "by", "role", "at", "closes")
_VALUE_LENGTH_MAX = 80


class Rows(Struct, frozen=True, kw_only=True):
    """All that is stored of one payment. `anomalies` have their `steps`."""

    payment: Row
    cancellations: Sequence[Row] = ()
    legs: Sequence[Row] = ()
    texts: Sequence[Row] = ()
    anomalies: Sequence[Row] = ()


class Difference(Struct, frozen=True):
    """`about` is one of REPLAYED; `what` names the payment and is name=value pairs."""

    about: str
    what: str


def differences(story: Story, rows: Rows) -> Iterator[Difference]:
    """Everything that the rows say otherwise than the records; nothing where they agree."""
    named = ids.public("pay", story.payment_id)
    if (derived := ids.payment_id(rows.payment["reference"])) != story.payment_id:
        yield Difference(REFERENCE, f"{named} reference={_shown(rows.payment['reference'])} makes={ids.public('pay', derived)}")
    told = story.told
    for sequence in story.unreadable:
        yield Difference(PAYMENT, f"{named} sequence={sequence} unreadable=its members are not those of its type")
    for contradiction in told.contradictions:
        yield Difference(PAYMENT, f"{named} {contradiction}")
    for what in _of_payment(story, rows):
        yield Difference(PAYMENT, f"{named} {what}")
    for about, prefix, facts, found in (
        (CANCELLATIONS, "can", told.cancellations, [_cancellation(row) for row in rows.cancellations]),
        (LEGS, "leg", told.legs, [_leg(row) for row in rows.legs]),
        (ANOMALIES, "ano", told.anomalies, [_anomaly(row) for row in rows.anomalies]),
    ):
        for what in _of_parts(prefix, facts, found):
            yield Difference(about, f"{named} {what}")
    for text in rows.texts:
        if not _is_told(text, told.digests):
            yield Difference(TEXTS, f"{named} {ids.public('txt', UUID(text['id']))} name={_shown(text['name'])} digest=differs")


def _of_payment(story: Story, rows: Rows) -> Iterator[str]:
    told, row = story.told, dict(rows.payment)
    facts = dict(told.payment)
    if not told.legs or all("state" in leg for leg in told.legs.values()):
        facts |= told.sums()
    if "items_digest" in facts:
        row["items_digest"] = digest_text([list(item) for item in row["items"]], b"") if row["items"] else None
    if "funding" in facts:
        row["funding"] = _like(facts["funding"], row["funding"])
    if told.updated_at is not None:
        # What is not on record (an attempt, say) changes a leg.
        facts["updated_at"] = max([told.updated_at, *(_canonical_time(leg["updated_at"]) for leg in rows.legs)])
    yield from _fields(facts, row)


def _like(told: Sequence[Row], found: Sequence[Row]) -> Sequence[Row]:
    """The sources without what the records of their time did not tell of them."""
    known = set().union(*(source.keys() for source in told))
    return [{name: value for name, value in source.items() if name in known} for source in found]


def _cancellation(row: Row) -> Facts:
    return {**row, "forfeited": sum(row["forfeited"])}


def _leg(row: Row) -> Facts:
    return {**row, "rail_key": ids.rail_key(UUID(row["payment_id"]), UUID(row["id"]))}


def _anomaly(row: Row) -> Facts:
    return {**row, "steps": [{name: step[name] for name in _STEP} for step in row["steps"]]}


def _of_parts(prefix: Any, told: Mapping[str, Facts], found: Sequence[Row]) -> Iterator[str]:
    rows = {row["id"]: row for row in found}
    for part_id in told.keys() | rows.keys():
        named, facts, row = ids.public(prefix, UUID(part_id)), told.get(part_id), rows.get(part_id)
        if row is None or facts is None:
            yield f"{named} {'row' if row is None else 'records'}=none"
            continue
        if row.get("state") == "requires_action":
            facts = {name: value for name, value in facts.items() if name != "failure_code"}  # changes without a record while it waits
        for what in _fields(facts, row):
            yield f"{named} {what}"


def _fields(facts: Facts, row: Row) -> Iterator[str]:
    for name, told in facts.items():
        if name in row and told != row[name] and plain(told) != plain(row[name]):
            yield f"field={name} records={_shown(told)} row={_shown(row[name])}"


def plain(value: Any) -> Any:
    """A value of JSON, comparable: a moment is a moment however it is written, and what is null is as if it were not there."""
    if isinstance(value, str):
        return _moment(value) or value
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return value


def _moment(text: str) -> datetime | None:
    if len(text) < 20 or text[4] != "-" or text[10] != "T":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at.astimezone(UTC)


def _canonical_time(text: str) -> str:
    at = _moment(text)
    return text if at is None else at.isoformat(timespec="microseconds")[:-6] + "Z"


def _is_told(text: Row, digests: set[tuple[str, str, str]]) -> bool:
    said = text["value"] if text["name"] == "carrier" else salted_digest(text)
    return isinstance(said, str) and (text["subject_id"], text["name"], said) in digests


def salted_digest(text: Row) -> str | None:
    """What a record must hold of this text; None where it has no canonical form."""
    try:
        return sha256(bytes.fromhex(text["salt"].removeprefix("\\x")) + canonical(text["value"])).hexdigest()
    except (ValueError, AttributeError):
        return None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else str(plain(value) if isinstance(value, Mapping) else value)
    return text[:_VALUE_LENGTH_MAX]
