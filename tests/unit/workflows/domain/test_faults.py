"""A fault as a line of a log: where, what, and with which members."""

from workflows.domain.faults import Fault, FaultCode


def test_a_fault_names_its_place_its_code_and_its_members() -> None:
    assert str(Fault("/rules/1/route", FaultCode.required)) == "/rules/1/route: required"
    assert str(Fault("", FaultCode.not_json, {"line": 2, "column": 7})) == ": not_json (line=2, column=7)"
    assert str(Fault("/a", FaultCode.unknown_value, {"allowed": ("x", "y")})) == "/a: unknown_value (allowed=('x', 'y'))"


def test_a_code_is_written_as_it_is_named() -> None:
    """Callers act on codes: `FaultCode.x` is `"x"` everywhere."""
    assert [one for one in FaultCode if one.name != one.value] == []
