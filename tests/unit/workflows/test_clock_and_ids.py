"""Fresh ids grow, are never made twice, and say that they are of version 7."""

import threading
import time
from uuid import UUID, uuid4

from workflows.clock_and_ids import new_id


def test_ids_grow_within_a_process_and_name_their_moment() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000

    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(one.version, one.variant) for one in made} == {(7, uuid4().variant)}
    assert before <= made[0].int >> 80
    assert made[-1].int >> 80 <= after + 1


def test_threads_never_make_the_same_id() -> None:
    made: list[UUID] = []

    def make() -> None:
        made.extend([new_id() for _ in range(5_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 20_000
