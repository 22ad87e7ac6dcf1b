"""The bodies and queries that the sandbox rail takes."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.sandbox.faults import KINDS_DEFAULT, RandomFaults, check_kinds, parse_faults
from service.sandbox.ledger import Instruction, Kind

REFERENCE_LENGTH_MAX = 512
AMOUNT_MAX = 10**15
KINDS_MAX = 32
PAGE_MAX = 10_000
_INT64_MAX = 2**63 - 1


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters")
    return text


def _readable(reference: str) -> str:
    parse_faults(reference)  # raises UnreadableFault, which pydantic lets through
    return reference


Reference = Annotated[str, StringConstraints(max_length=REFERENCE_LENGTH_MAX), AfterValidator(_printable)]


class InstructionBody(BaseModel):
    """What is to be moved, and under which key."""

    model_config = ConfigDict(strict=True, extra="forbid")

    rail_key: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")
    payment_reference: Annotated[Reference, Field(min_length=1)]
    provider_reference: Annotated[Reference, AfterValidator(_readable)]
    amount: int = Field(ge=1, le=AMOUNT_MAX, description="In the currency's minor unit")
    currency: str = Field(pattern=r"^[A-Z]{3}$")

    def instruction(self, kind: Kind) -> Instruction:
        return Instruction(kind=kind, **self.__dict__)


class CancelBody(BaseModel):
    """The key stands in the address; there is nothing more to say."""

    model_config = ConfigDict(strict=True, extra="forbid")


class RandomFaultsBody(BaseModel):
    """Random faults on top of those that the references ask for."""

    model_config = ConfigDict(strict=True, extra="forbid")

    rate: float = Field(ge=0, le=1, allow_inf_nan=False)
    kinds: list[str] | None = Field(None, max_length=KINDS_MAX)
    seed: int = Field(0, ge=-_INT64_MAX, le=_INT64_MAX)

    def random_faults(self) -> RandomFaults:
        """Raises UnreadableFault."""
        kinds = KINDS_DEFAULT if self.kinds is None else tuple(self.kinds)
        check_kinds(kinds)
        return RandomFaults(rate=self.rate, kinds=kinds, seed=self.seed)


class MovementsQuery(BaseModel):
    """Which movements are listed; all of them without a limit."""

    model_config = ConfigDict(extra="forbid")

    payment_reference: str | None = None
    after: int = Field(0, ge=0, le=_INT64_MAX)
    limit: int | None = Field(None, ge=1, le=PAGE_MAX)
