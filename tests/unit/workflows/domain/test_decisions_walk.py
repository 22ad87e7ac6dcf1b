"""Whatever is said and ordered, and in whatever order: the sums add up, and every state has a job, a command or a person.

`REFUNDRY_WALK_STATES=4000` walks further than the suite has time for.
"""

import os

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH
from tests.unit.workflows.domain.walk import Graph, Node, Step, Walk
from tests.unit.workflows.domain.walk_checks import check_actions, check_node, check_step
from workflows.domain.decisions.eligibility import foresee
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.model import Snapshot

STATES_MAX = int(os.environ.get("REFUNDRY_WALK_STATES", "60"))
FORFEITING = replace(
    make.TERMS,
    policy=make.policy(
        rules=[
            {"name": "void", "when": {"state": "pending"}, "route": "void"},
            {"name": "forfeiting", "when": {"state": "completed"}, "route": "automatic", "forfeit": ["coupon"]},
        ]
    ),
)


def walked(start: Snapshot, walk: Walk) -> Graph:
    def look(node: Node, steps: list[Step]) -> None:
        check_node(node)
        check_foreseen(node, steps, walk.terms)
        for step in steps:
            check_step(node, step)
        check_actions(node, steps, walk.terms)
        assert node.is_final or any(step.change is not None for step in steps)

    graph = walk.run(start, look)
    check_ends(graph)
    return graph


def check_foreseen(node: Node, steps: list[Step], terms: PolicyContext) -> None:
    """What eligibility says of all that is refundable is what the request for it is answered."""
    answers = [step.refused for step in steps if step.name == "request"]
    if answers:
        foreseen = foresee(node.snapshot, make.requested(), terms, make.NOW).refused
        assert type(foreseen) is type(answers[0])


def check_ends(graph: Graph) -> None:
    """From every state there is a way to one in which nothing is open any more; what was not looked at is taken to have one."""
    back: dict[int, set[int]] = {}
    for at, nexts in graph.ways.items():
        for one in nexts:
            back.setdefault(one, set()).add(at)
    reached = {at for at, node in enumerate(graph.nodes) if node.is_final or at not in graph.expanded or is_another_supervisors(node)}
    waiting = list(reached)
    while waiting:
        for one in back.get(waiting.pop(), set()) - reached:
            reached.add(one)
            waiting.append(one)
    stuck = [graph.nodes[at] for at in range(len(graph.nodes)) if at not in reached]
    assert not stuck, [(node.snapshot.payment.state, [row.state for row in node.snapshot.cancellations]) for node in stuck[:3]]


def is_another_supervisors(node: Node) -> bool:
    """A raised case whose only supervisor, here, has told an outcome himself."""
    told = any(answer.by == make.SUPERVISOR.id for leg in node.snapshot.legs for answer in leg.answers)
    return told and any(row.raised for row in node.snapshot.cancellations)


STARTS: dict[str, tuple[Snapshot, PolicyContext]] = {
    "completed, one source": (make.completed(), make.TERMS),
    "completed, two sources": (make.completed(funding=BOTH), make.TERMS),
    "pending, one source": (make.pending(), make.TERMS),
    "pending, two sources": (make.pending(funding=BOTH), make.TERMS),
    "a promotion that does not go back": (make.completed(funding=BOTH), FORFEITING),
    "the same of a payment that settles late": (make.pending(funding=BOTH), FORFEITING),
    "by the merchant": (make.completed(merchant_id="merchant"), make.TERMS),
    "after the goods are back": (make.completed(merchant_id="return"), make.TERMS),
    "by an agent": (make.completed(merchant_id="agent"), make.TERMS),
    "by two persons": (make.completed(merchant_id="agent", amount=20_000), make.TERMS),
}


@pytest.mark.long
def test_every_state_of_one_source() -> None:
    start, terms = STARTS["completed, one source"]
    graph = walked(start, Walk(terms=terms))

    assert len(graph.expanded) == len(graph.nodes) > 500


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.slow
def test_one_request(name: str) -> None:
    start, terms = STARTS[name]
    walked(start, Walk(terms=terms, chain_max=3, states_max=STATES_MAX))


@pytest.mark.parametrize("merchant", ["automatic", "merchant"])
@pytest.mark.slow
def test_a_request_beside_another(merchant: str) -> None:
    walked(make.completed(funding=BOTH, merchant_id=merchant), Walk(requests_max=2, states_max=STATES_MAX))
