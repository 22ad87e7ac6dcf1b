"""The exception tree is the one that its module draws, and a wrong value carries its fault."""

import inspect
import re

from workflows.domain import errors
from workflows.domain.errors import Invalid, RefundryError
from workflows.domain.faults import Fault, FaultCode


def test_the_tree_is_drawn_as_it_is() -> None:
    parents: dict[str, str] = {}
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]  # the module has a docstring
        drawn = re.match(r"^    (│  )?[├└]─ (\w+)", line)
        if drawn is not None:
            parents[drawn[2]] = "Refused" if drawn[1] else "RefundryError"
    actual = {
        one.__name__: one.__base__.__name__
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, RefundryError) and one is not RefundryError and one.__base__ is not None
    }

    assert parents == actual


def test_a_wrong_value_carries_its_place_its_code_and_its_members() -> None:
    raised = Invalid("/amount", FaultCode.above_maximum, maximum=5)

    assert raised.fault == Fault("/amount", FaultCode.above_maximum, {"maximum": 5})
    assert (raised.pointer, raised.code, raised.members) == ("/amount", FaultCode.above_maximum, {"maximum": 5})
    assert str(raised) == "/amount: above_maximum (maximum=5)"
