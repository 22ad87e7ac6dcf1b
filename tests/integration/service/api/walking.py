"""A walk along the links of the OpenAPI document: who takes each step, which steps are open, and what came of them."""

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from hypothesis import strategies as some
from schemathesis import Case, HookContext
from schemathesis.generation.stateful.control import TransitionController

from service.api.routing import Operation
from service.app import declared_operations
from tests.harness import Api, Json
from tests.integration.service.api.agreeing import BODIES, QUERIES, Chance, written
from workflows.domain.enums import Role

OPERATIONS = {f"{one.method} {one.path}": one for one in declared_operations() if one.in_schema}
BY_ACTION = {word: one.name for one in OPERATIONS.values() for word in one.actions}
PEOPLE = (
    ("wallet", "wallet-1"),
    ("merchant", "merchant-1"),
    ("agent", "agent-1"),
    ("supervisor", "supervisor-1"),
    ("supervisor", "supervisor-2"),
    ("auditor", "auditor-1"),
    ("operator", "operator-1"),
)
SHOPPERS, DECIDERS = PEOPLE[:2], PEOPLE[1:5]  # who is offered steps of a payment; of a cancellation, where the wallet may what an agent may
REGISTER = "POST /v1/payments"
NEXT = "POST /v1/cancellations/next"  # may hand out what another walk has left: the same draws would lead to something else
A_STEP = timedelta(seconds=20)
A_PAUSE = timedelta(hours=50)  # longer than merchants have
PAUSE_STEPS, STRAY_STEPS = 12, 8
READING_STEPS = 4
READINGS_MAX = {"get_cancellation": 3, "get_payment": 2}  # in one walk; of others one
LISTINGS_MAX = 4  # in all walks
# Steps that end a life early, or that change what the others find: so often in all walks, or in one.
ENDS = {"fail_payment": 2, "withdraw_cancellation": 3, "deny_cancellation": 2, "close_cancellation": 2, "resolve_anomaly": 1}
ONCE = ("change_fulfilment", "modify_payment", "assign_cancellation")
OVER = ("completed", "refused", "withdrawn", "failed")
Person = tuple[str, str]
AnyCase = Case[Any]


@dataclass
class Tally:
    """What came of all the walks."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    rounds: int = 0
    before: Counter[str] = field(default_factory=Counter)  # 2xx of each operation when the round began
    followed: Counter[tuple[str, str]] = field(default_factory=Counter)  # from an operation to one that answered 2xx
    chains: set[tuple[str, ...]] = field(default_factory=set)  # of such steps
    lives: dict[str, list[str]] = field(default_factory=dict)  # by payment: what was done about it, and each state that it came to

    def succeeded(self, name: str) -> int:
        return sum(count for (one, status), count in self.answers.items() if one == name and 200 <= status < 300)

    @property
    def reached(self) -> set[str]:
        """Operations that a link led to, and that answered 2xx."""
        return {after for _, after in self.followed}

    def begin(self) -> None:
        """A round begins, which Hypothesis wants to be the same for the same draws: what it goes by stands still until the next."""
        self.rounds += 1
        self.before = Counter({name: self.succeeded(name) for name, _ in self.answers})


@dataclass
class Scene:
    """What one walk has seen, and what is open to whom."""

    api: Api
    loop: asyncio.AbstractEventLoop  # the api's: it stands still while Hypothesis runs
    things: dict[str, Json] = field(default_factory=dict)  # by id, as last seen
    offered: dict[str, set[tuple[str, Person]]] = field(default_factory=dict)  # by id: operations, and who may call them
    calls: Counter[str] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)  # operations that answered 2xx
    payment_id: str = ""  # the last that was seen
    steps: int = 0
    turn: int = 0  # the number of the round

    def start(self) -> None:
        self.things, self.offered, self.calls, self.reached = {}, {}, Counter(), set()
        self.steps, self.payment_id = 0, ""

    @property
    def strays(self) -> bool:
        """Now and then any link is followed, whether its step is open or not."""
        return self.steps % STRAY_STEPS == STRAY_STEPS - 1

    def offers(self, name: str) -> bool:
        return any(name == one for found in self.offered.values() for one, _ in found)

    def person(self, operation: Operation, id_: str | None, chance: Chance) -> Person:
        """Somebody to whom the step is open, else one whose role may take it."""
        welcome = sorted(person for name, person in self.offered.get(id_ or "", ()) if name == operation.name)
        if welcome and Role.wallet in (operation.roles or ()):
            welcome.append(PEOPLE[0])
        return chance.choice(welcome or [one for one in PEOPLE if operation.roles is None or one[0] in operation.roles])

    def agree(self, case: AnyCase, chance: Chance) -> AnyCase:
        """The case as somebody sends it who knows what it is about."""
        operation = OPERATIONS[case.operation.label]
        id_ = next(iter(case.path_parameters.values()), None)
        role, sub = self.person(operation, id_, chance)
        chance.now, chance.role, chance.turn = self.api.clock.now, role, self.turn
        for name in ("If-Match", "If-None-Match"):
            case.headers.pop(name, None)
        case.headers["Authorization"] = f"Bearer {self.api.token(role, sub)}"
        if operation.is_command:
            case.headers["Idempotency-Key"] = uuid4().hex
        case.query = {name: case.query[name] for name in QUERIES.get(operation.name, ()) if name in case.query}
        of = self.things.get(id_ or "", {})
        if isinstance(case.body, dict):
            case.body = written(case.body)
        if operation.name in BODIES and (of or not case.path_parameters):
            case.body = BODIES[operation.name](case.body if isinstance(case.body, dict) else {}, of, chance)
        return case

    def wait(self, span: timedelta) -> None:
        self.api.clock.now += span

    def saw(self, answer: Json) -> None:
        """Keeps the resource, if it is one of those that have steps, and nobody has looked at it who is shown all of it."""
        if str(answer.get("id")).startswith(("pay_", "can_", "ano_")) and answer["id"] not in self.offered:
            self.things[answer["id"]] = answer

    def settle(self, payment_id: str) -> None:
        """The worker does what is due; then everybody looks."""
        self.loop.run_until_complete(self._settle(payment_id))

    async def _settle(self, payment_id: str) -> None:
        await self.api.worker.drain()
        self.payment_id = payment_id
        self.offered.clear()
        payment = await self._look(f"/v1/payments/{payment_id}", SHOPPERS)
        for id_ in payment["cancellations"][-1:]:
            await self._look(f"/v1/cancellations/{id_}", DECIDERS)

    async def _look(self, path: str, people: tuple[Person, ...]) -> Json:
        found, answer = set[tuple[str, Person]](), dict[str, Any]()
        for role, sub in people:
            if answer.get("state") in OVER and "payment_id" in answer:
                break
            response = await self.api.http.get(path, headers={"authorization": f"Bearer {self.api.token(role, sub)}"})
            answer = response.json()
            found |= {(BY_ACTION[word], (role, sub)) for word in answer["available_actions"]}
        self.things[answer["id"]], self.offered[answer["id"]] = answer, found
        return answer


class Course(TransitionController):
    """Keeps a walk to the steps that are open, to few readings, and to one payment until no link can be followed any more."""

    def __init__(self, transitions: Any, roots: frozenset[str], scene: Scene, tally: Tally) -> None:
        super().__init__(transitions, roots)
        self.scene = scene
        self.tally = tally
        self._kept = (-1, -1)

    def allow_transition(self, source: str, target: str) -> bool:
        operation, done = OPERATIONS[target], self.tally.before[OPERATIONS[target].name]
        most = self._most()
        if operation.method != "GET":
            return self._is_open(source, target) and done <= most
        unread = self.scene.calls[operation.name] < READINGS_MAX.get(operation.name, 1)
        return unread and (done < 2 or most < 0 or self.scene.steps % READING_STEPS == 0)

    def _is_open(self, source: str, target: str) -> bool:
        operation, scene = OPERATIONS[target], self.scene
        if self.tally.before[operation.name] >= ENDS.get(operation.name, sys.maxsize):
            return False
        if operation.name in ONCE and scene.calls[operation.name]:
            return False
        is_open = not operation.actions or "anomaly_id" in operation.path or scene.offers(operation.name) or scene.strays
        return is_open and super().allow_transition(source, target)

    def _most(self) -> int:
        """How often a step may have been taken in all walks to be taken again: the rarest that is open comes first. -1: none is open."""
        if self._kept[0] != self.scene.steps:
            links = [link for source in self.scene.reached for link in self.transitions.operations[source].outgoing]
            steps = {
                link.target.label
                for link in links
                if OPERATIONS[link.target.label].method != "GET" and self._is_open(link.source.label, link.target.label)
            }
            done = [self.tally.before[OPERATIONS[one].name] for one in steps]
            self._kept = self.scene.steps, 2 * min(done) + 3 if done else -1
        return self._kept[1]

    def allow_root_transition(self, source: str, bundles: Any) -> bool:
        if source != REGISTER:
            name = OPERATIONS[source].name
            is_wanted = self.scene.calls[name] == 0 and self.tally.before[name] < LISTINGS_MAX
            return source in self.roots and is_wanted and bool(self.scene.things)
        sources = {name.partition(" -> ")[0] for name, found in bundles.items() if found}
        return not any(
            self.allow_transition(one, link.target.label) for one in sources for link in self.transitions.operations[one].outgoing
        )


class EveryRule:
    """Instead of the half of all rules that Hypothesis leaves out of each run: the course chooses."""

    def is_enabled(self, _: str) -> bool:
        return True


def agreeing(scene: Scene, tally: Tally) -> Any:
    """The hook `before_generate_case`."""

    def before_generate_case(context: HookContext, strategy: some.SearchStrategy[AnyCase]) -> some.SearchStrategy[AnyCase]:
        return some.builds(
            lambda case, seed: scene.agree(case, Chance(f"{seed} {tally.rounds} {scene.steps}")), strategy, some.integers(0, 2**32)
        )

    return before_generate_case


def walk(schema: Any, scene: Scene, tally: Tally, checks: list[Any]) -> Any:
    """The state machine."""

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # a class made at run time
        def __init__(self) -> None:
            super().__init__()
            self.control = Course(
                self._transitions, frozenset(one for one in self._root_labels if "{" not in one and one != NEXT), scene, tally
            )
            self._rules_strategy.enabled_rules_strategy = some.just(EveryRule())
            self.paths: dict[str, tuple[str, ...]] = {}  # by case: the operations that led to it, its own included

        def setup(self) -> None:
            scene.start()

        def before_call(self, case: AnyCase) -> None:  # noqa: ARG002 -- the library's signature
            scene.wait(A_STEP)
            scene.steps += 1
            if scene.steps % PAUSE_STEPS == 0:
                scene.wait(A_PAUSE)
                if scene.payment_id:
                    scene.settle(scene.payment_id)

        def validate_response(self, response: Any, case: AnyCase, **_: Any) -> None:
            case.validate_response(response, checks=checks)

        def step(self, input: Any) -> Any:  # noqa: A002 -- the library's name
            output = super().step(input)
            operation, status = OPERATIONS[output.case.operation.label], output.response.status_code
            tally.answers[operation.name, status] += 1
            scene.calls[operation.name] += 1
            if 200 <= status < 300:
                scene.reached.add(output.case.operation.label)
                before = self.paths.get(input.transition.parent_id, ()) if input.transition else ()
                self.paths[output.case.id] = chain = (*before, operation.name)
                if before:
                    tally.followed[before[-1], operation.name] += 1
                if status != 204:
                    self.note(operation, output.response.json(), chain)
            return output

        def note(self, operation: Operation, answer: Json, chain: tuple[str, ...]) -> None:
            scene.saw(answer)
            payment_id = answer.get("payment_id") or str(answer.get("id"))
            if payment_id.startswith("pay_"):
                if operation.method != "GET":
                    scene.settle(payment_id)
                tally.chains.add(chain)
                tally.lives.setdefault(payment_id, []).extend((operation.name, scene.things.get(payment_id, {}).get("state", "unseen")))

    return Walk
