"""What the rail really sends is believed."""

from datetime import UTC, datetime

import pytest

from service.providers.sandbox import verify_notification
from tests.rails import SECRET, Caller, Receiver, noticed, order

pytestmark = pytest.mark.slow


async def test_what_the_rail_really_sends_is_believed(caller: Caller, receiver: Receiver) -> None:
    wanted = order("ok")
    outcome = await caller.provider.refund(wanted)
    delivery = (await noticed(lambda: receiver.about(wanted.rail_key)))[0]

    word = verify_notification(delivery.headers, delivery.body, SECRET, datetime.now(UTC))

    assert word is not None
    assert (word.rail_key, word.outcome) == (wanted.rail_key, outcome)
    assert word.id.startswith("ntf_")
    assert verify_notification(delivery.headers, delivery.body, "other", datetime.now(UTC)) is None
