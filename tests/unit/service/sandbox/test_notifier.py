"""Only the rail's own, fresh words are believed."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.providers.sandbox import SIGNATURE_HEADER, Notification, SandboxProvider, verify_notification
from service.sandbox.notifier import sign
from tests.rails import SECRET
from workflows.domain.ports import Declined, Done, NeedsAction, Outcome, ProviderNotification, Returned, Unknown

SAID = {
    "id": "ntf_1",
    "rail_key": "ab" * 32,
    "kind": "refund",
    "status": "succeeded",
    "amount": 1250,
    "currency": "CNY",
    "at": "2026-11-22T11:59:58.250Z",
    "provider_refund_id": "sbx_1",
    "rail_reference": "7" * 23,
}
AT = datetime(2026, 11, 22, 11, 59, 58, 250_000, tzinfo=UTC)


def signed(body: bytes, at: datetime, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {SIGNATURE_HEADER: f"t={stamp},v1={digest}"}


def body(**members: Any) -> bytes:
    return json.dumps({**SAID, **members}).encode()


def test_the_signature_is_the_one_that_is_documented() -> None:
    # Computed with `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`.
    digest = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"

    assert sign(b"key", "1700000000", b"{}") == digest
    assert signed(b"{}", datetime.fromtimestamp(1_700_000_000, UTC), "key") == {SIGNATURE_HEADER: f"t=1700000000,v1={digest}"}


@pytest.mark.parametrize(
    ("members", "outcome"),
    [
        ({}, Done(1250, "CNY", "sbx_1", "7" * 23)),
        ({"status": "failed", "failure_code": "account_closed"}, Declined("account_closed")),
        ({"status": "returned", "failure_code": "account_closed"}, Returned("account_closed")),
        ({"status": "requires_action"}, NeedsAction("sbx_1")),
    ],
)
def test_a_word_of_the_rail_is_read(members: dict[str, str], outcome: Outcome, now: datetime) -> None:
    word = body(**members)

    assert verify_notification(signed(word, now), word, SECRET, now) == Notification("ntf_1", "ab" * 32, outcome, AT)
    assert SandboxProvider.read(word) == ProviderNotification("ab" * 32, outcome)


@pytest.mark.parametrize("members", [{"status": "new"}, {"amount": "1250"}, {"currency": None}, {"status": None}])
def test_a_word_that_is_not_understood_is_kept_as_unknown(members: dict[str, object], now: datetime) -> None:
    word = body(**members)

    assert verify_notification(signed(word, now), word, SECRET, now) == Notification("ntf_1", "ab" * 32, Unknown("unreadable"), AT)
    assert SandboxProvider.read(word) == ProviderNotification("ab" * 32, Unknown("unreadable"))


@pytest.mark.parametrize("members", [{"id": None}, {"id": 5}, {"at": "yesterday"}, {"at": "2026-11-22T11:59:58"}, {"at": 5}])
def test_a_word_without_id_or_time_is_kept_under_the_digest_of_its_bytes(members: dict[str, object], now: datetime) -> None:
    word = body(**members)
    name = hashlib.sha256(word).hexdigest()

    assert verify_notification(signed(word, now), word, SECRET, now) == Notification(name, "ab" * 32, Unknown("unreadable"), now)


@pytest.mark.parametrize("word", [b"", b"[]", b"\xff", b"{}", body(rail_key=None), body(rail_key=5), body(rail_key="")])
def test_a_word_about_no_key_is_none(word: bytes, now: datetime) -> None:
    assert verify_notification(signed(word, now), word, SECRET, now) is None
    assert SandboxProvider.read(word) is None


@pytest.mark.parametrize(("seconds", "fresh"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_old_and_future_words_are_refused(seconds: int, fresh: bool, now: datetime) -> None:
    headers = signed(body(), now + timedelta(seconds=seconds))

    assert (verify_notification(headers, body(), SECRET, now) is not None) is fresh


@pytest.mark.parametrize("position", range(0, len(body()), 7))
def test_no_byte_can_be_changed(position: int, now: datetime) -> None:
    tampered = bytearray(body())
    tampered[position] ^= 1

    assert verify_notification(signed(body(), now), bytes(tampered), SECRET, now) is None


@pytest.mark.parametrize(
    "header",
    [None, "", "t=,v1=", "v1={v1}", "t={t}", "t={t},v1=", "t={t},v1={v1}0", "t={t},v1=00{v1}", "t={t},v2={v1}", "t={t},t={t},v1={v1}",
     "t=x{t},v1={v1}", "t={later},v1={v1}", "t={t},v1=é", "t=" + "9" * 60 + ",v1={v1}", "t={t},v1={upper}"],
)  # fmt: skip
def test_a_forged_header_is_refused(header: str | None, now: datetime) -> None:
    stamp, _, digest = signed(body(), now)[SIGNATURE_HEADER].partition(",")
    t, v1 = stamp[2:], digest[3:]
    text = (header or "").format(t=t, v1=v1, later=int(t) + 1, upper=v1.upper())

    assert verify_notification({} if header is None else {SIGNATURE_HEADER: text}, body(), SECRET, now) is None


def test_another_secret_or_none_is_refused(now: datetime) -> None:
    assert verify_notification(signed(body(), now, "other"), body(), SECRET, now) is None
    assert verify_notification(signed(body(), now, ""), body(), "", now) is None


def test_one_of_two_signatures_is_enough_and_case_of_names_is_nothing(now: datetime) -> None:
    header = signed(body(), now)[SIGNATURE_HEADER].replace(",", ", v1=" + "0" * 64 + " , ")

    assert verify_notification({SIGNATURE_HEADER.lower(): header}, body(), SECRET, now) is not None
