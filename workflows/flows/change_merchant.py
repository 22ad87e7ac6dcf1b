"""Say what a merchant is and what its own terms are: another version, with its record, in one statement."""

import asyncio
from dataclasses import dataclass

from workflows.commands import Decision, Runner, Runtime, Write, execute, given
from workflows.domain.errors import VersionMismatch
from workflows.domain.model import Actor
from workflows.domain.policies.calendar import business_days
from workflows.domain.policies.comparison import check_own_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.storage.merchants import MerchantState, merchant_change


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMerchant:
    """All that is told of a merchant, by an operator. `if_match`: the versions that he accepts as the newest; None: any."""

    merchant_id: str
    details: MerchantDetails
    actor: Actor
    request_id: str
    if_match: frozenset[int] | None
    must_exist: bool = False  # a precondition was sent: it fails where there is no version at all


@dataclass(frozen=True, slots=True)
class MerchantChanged:
    merchant: Merchant
    is_new: bool  # it was not known before


async def change_merchant(runner: Runner, command: ChangeMerchant) -> MerchantChanged:
    """The newest version, now or already the same. Raises VersionMismatch, HarsherRules for rules that would
    never take effect under the policy in force, Unavailable.
    """
    runtime = runner.runtime
    found = await runtime.store.load_merchant(command.merchant_id)
    if (same := _same(command, found)) is not None:  # though the policy in force may be another by now
        return same
    in_force = given(await runtime.store.policies.in_force(runtime.clock()))
    days = business_days(in_force.policy, runtime.calendar)
    await asyncio.to_thread(check_own_rules, in_force.policy, command.merchant_id, command.details, days)  # it may take a second
    return await execute(
        runtime.store,
        lambda: runtime.store.load_merchant(command.merchant_id),
        lambda found: _change(runtime, command, found),
    )


def _same(command: ChangeMerchant, found: MerchantState) -> MerchantChanged | None:
    """The newest version where it says the same already. Raises VersionMismatch."""
    newest = found.newest
    current = 0 if newest is None else newest.version
    unknown = newest is None and command.must_exist
    if unknown or (command.if_match is not None and current not in command.if_match):
        raise VersionMismatch(current)
    return None if newest is None or newest.details != command.details else MerchantChanged(newest, is_new=False)


def _change(runtime: Runtime, command: ChangeMerchant, found: MerchantState) -> Decision[MerchantChanged]:
    if (same := _same(command, found)) is not None:
        return Decision(same)
    newest = found.newest
    context = runtime.context(command.actor, command.request_id, after=found.head.at)
    merchant, change = merchant_change(command.merchant_id, command.details, found, context=context)
    return Decision(MerchantChanged(merchant, is_new=newest is None), Write(service=change))
