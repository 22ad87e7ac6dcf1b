"""A decoded document, read value by value: what is wrong is noted at its place, and the reading goes on."""

import re

from workflows.domain.enums import Route
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.forms import NAME_LENGTH_MAX, FormReader
from workflows.domain.windows import Length, Unit

NAME = re.compile(r"[a-z]+")


def reader(value: object) -> FormReader:
    return FormReader(value, "", [])


def codes(form: FormReader) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in form.faults]


def test_a_pointer_is_escaped_and_no_name_is_sent_back_that_no_form_could_hold() -> None:
    names: dict[object, str] = {
        "a/b~c": "/a~1b~0c",
        7: "/7",
        True: "/True",
        "a" * NAME_LENGTH_MAX: "/" + "a" * NAME_LENGTH_MAX,
        "a" * (NAME_LENGTH_MAX + 1): "",
        "a\nb": "",
        "\ud800": "/?",  # half a character, which no answer could carry
    }

    assert {name: reader({}).at(name, None).pointer for name in names} == names


def test_members_that_are_unknown_or_missing_are_told_in_order_and_the_known_ones_come_back() -> None:
    form = reader({"z": 1, "b": 2, "a": 3, "y": 4})

    found = form.members(frozenset("abc"), required=frozenset("ac"))

    assert {name: one.value for name, one in found.items()} == {"a": 3, "b": 2}
    assert codes(form) == [("/y", "unknown_policy_member"), ("/z", "unknown_policy_member"), ("/c", "required")]
    assert form.faults[0].members == {"known": ("a", "b", "c")}


def test_what_is_no_object_has_no_members_and_what_is_no_array_no_items() -> None:
    no_objects: tuple[object, ...] = (None, [], "text", 7)
    no_arrays: tuple[object, ...] = (None, {}, "text", [1, 2, 3])
    for value in no_objects:
        form = reader(value)
        assert form.members(frozenset("a"), required=frozenset("a")) == {}
        assert codes(form)[0] == ("", "not_object")
    for value in no_arrays:
        form = reader(value)
        assert form.items(2) == []
        assert form.faults == [Fault("", FaultCode.array_too_long, {"maximum": 2})]
    assert [one.pointer for one in reader((1, 2)).items(2)] == ["/0", "/1"]


def test_a_text_that_yaml_read_as_something_else_is_told_apart() -> None:
    assert reader("abc").text(NAME, FaultCode.invalid_rule_name) == "abc"
    for value, code in (("a1", "invalid_rule_name"), ("abc\n", "invalid_rule_name"), (12, "not_quoted"), (False, "not_quoted")):
        form = reader(value)
        assert form.text(NAME, FaultCode.invalid_rule_name) == ""
        assert codes(form) == [("", code)]


def test_an_integer_is_within_its_bounds_and_no_boolean() -> None:
    assert [reader(value).integer(1, 3) for value in (1, 3)] == [1, 3]
    for value in (0, 4, True, 2.0, "2", None):
        form = reader(value)
        assert form.integer(1, 3) == 1, "the stand-in"
        assert form.faults == [Fault("", FaultCode.integer_out_of_range, {"minimum": 1, "maximum": 3})]


def test_a_flag_is_a_boolean_and_nothing_else() -> None:
    assert [reader(value).flag() for value in (True, False)] == [True, False]
    for value in (1, "true", None):
        form = reader(value)
        assert form.flag() is False
        assert codes(form) == [("", "not_boolean")]


def test_a_word_is_one_of_those_allowed() -> None:
    allowed = frozenset({Route.return_, Route.agent})

    assert reader("return").word(Route) is Route.return_
    assert reader("return").word(Route, allowed) is Route.return_
    for value in ("void", "return_", 7):
        form = reader(value)
        form.word(Route, allowed)
        assert codes(form) == [("", "unknown_value")]
        assert set(form.faults[0].members["allowed"]) == allowed  # type: ignore[arg-type]  # a tuple of words


def test_a_length_has_a_least_amount_and_a_sign_only_where_one_may_stand() -> None:
    assert reader("2 hours").length() == Length(2, Unit.hours)
    assert reader("+0 minutes").length(0, signed=True) == Length(0, Unit.minutes)
    for value in ("0 hours", "+2 hours", "-2 hours", 2, None):
        form = reader(value)
        assert form.length() == Length(1, Unit.days), "the stand-in"
        assert codes(form) == [("", "invalid_duration")]
