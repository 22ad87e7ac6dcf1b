"""Whatever fails, dies, is lost or decided: at the end the rail's book has every movement once, and ours says the same.

200 payments here; `REFUNDRY_SOAK=2000 pytest tests/crash/test_workflows_soak.py -s` plays as many as it says, and prints the figures.
`REFUNDRY_SOAK_SEED` gives another seed. Time is the fake clock's, and chance the seed's: the same seed takes the same steps.
"""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from service.sandbox.ledger import Movement
from tests.crash.mortal import mortal_core
from tests.crash.recovering import assert_owned, judge
from tests.crash.soak import SCHEDULE, Soak
from tests.database import Cluster

COUNT = int(os.environ.get("REFUNDRY_SOAK", "200"))
SEED = int(os.environ.get("REFUNDRY_SOAK_SEED", "7"))


@pytest.mark.long
async def test_each_movement_exactly_once(cluster: Cluster, tmp_path: Path) -> None:
    started = time.monotonic()
    async with mortal_core(cluster, tmp_path, SCHEDULE) as core:
        soak = Soak(core, COUNT, SEED)

        await soak.run()

        moved: dict[str, list[Movement]] = {}
        for movement in await core.rail.movements():
            moved.setdefault(movement.payment_reference, []).append(movement)
        figures: Counter[str] = soak.figures
        for payment in soak.payments:
            found = await core.snapshot(payment)
            of_it = moved.get(found.payment.reference, [])
            judge(found, of_it)
            figures.update({"payments": 1, "legs": len(found.legs), "movements": len(of_it)})
            figures[f"payment {found.payment.state.value}"] += 1
            figures.update(f"anomaly {each.kind.value}" for each in found.anomalies)
            figures["returned"] += sum(m.returned_ms is not None for m in of_it)
            figures["successors"] += sum(leg.replaces is not None for leg in found.legs)
        assert figures["movements"] == sum(len(of_it) for of_it in moved.values()), "none but of these payments"
        await assert_owned(core)
        await core.check()
        assert figures["anomaly paid_twice"] == 0
        assert min(figures[name] for name in ("kills", "retry: 200", "redirect: 200", "close: 200", "successors", "returned")) > 0
    figures["seconds"] = round(time.monotonic() - started)
    print("\n".join(f"{name}: {number}" for name, number in sorted(figures.items())))
