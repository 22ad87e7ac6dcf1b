"""The faults: what can be wrong with a value that somebody sent, as a code, the place, and the members that the code's sentence needs.

The sentences stand in the service's locales, one for each code in each language.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

FaultMember = str | int | tuple[str, ...]


class FaultCode(StrEnum):
    """Members may be added, none is ever renamed or reused: callers act on them."""

    invalid = "invalid"  # a form that has no code of its own

    # One value.
    required = "required"
    unknown_member = "unknown_member"
    unknown_value = "unknown_value"  # allowed
    not_string = "not_string"
    not_integer = "not_integer"
    not_boolean = "not_boolean"
    not_array = "not_array"
    not_object = "not_object"
    below_minimum = "below_minimum"  # minimum
    above_maximum = "above_maximum"  # maximum
    too_few_characters = "too_few_characters"  # minimum
    too_many_characters = "too_many_characters"  # maximum
    too_few_entries = "too_few_entries"  # minimum
    too_many_entries = "too_many_entries"  # maximum
    blank = "blank"
    control_characters = "control_characters"
    invisible_characters = "invisible_characters"  # control characters too
    control_characters_in_text = "control_characters_in_text"  # where tabs and line breaks are allowed
    not_visible_ascii = "not_visible_ascii"
    not_printable_ascii = "not_printable_ascii"
    invalid_reference = "invalid_reference"
    invalid_slug = "invalid_slug"
    invalid_word = "invalid_word"
    invalid_digest = "invalid_digest"
    invalid_id = "invalid_id"  # prefix
    invalid_cursor = "invalid_cursor"
    invalid_time = "invalid_time"
    invalid_currency = "invalid_currency"
    invalid_items = "invalid_items"  # of the query parameter
    invalid_idempotency_key = "invalid_idempotency_key"
    invalid_if_match = "invalid_if_match"
    unsupported_media_type = "unsupported_media_type"  # allowed
    unsupported_coding = "unsupported_coding"

    # Values that do not agree with each other.
    required_when = "required_when"  # member, value
    allowed_only_when = "allowed_only_when"  # member, value
    not_with_amount = "not_with_amount"
    after_completed_at = "after_completed_at"
    funding_sum = "funding_sum"
    items_sum = "items_sum"
    duplicate_item = "duplicate_item"
    given_twice = "given_twice"
    span_reversed = "span_reversed"  # a span that ends before it starts

    # The request as a whole.
    body_incomplete = "body_incomplete"
    not_utf8 = "not_utf8"
    other_encoding = "other_encoding"  # encoding: what it looks like
    not_json = "not_json"  # line, column
    not_finite = "not_finite"
    not_unicode = "not_unicode"
    nested_too_deep = "nested_too_deep"
    too_many_members = "too_many_members"  # maximum
    too_many_values = "too_many_values"  # maximum
    number_too_long = "number_too_long"
    duplicate_member = "duplicate_member"
    query_not_utf8 = "query_not_utf8"
    too_many_parameters = "too_many_parameters"  # maximum

    # What only the payment's own facts disprove.
    in_future = "in_future"
    out_of_bounds = "out_of_bounds"  # before authorised_at, or in the future
    out_of_order = "out_of_order"  # before an earlier step of the goods
    currency_withdrawn = "currency_withdrawn"
    unknown_provider = "unknown_provider"  # allowed
    unknown_leg = "unknown_leg"
    unknown_item = "unknown_item"
    amount_not_lower = "amount_not_lower"
    funding_required = "funding_required"
    items_required = "items_required"
    ambiguous_source = "ambiguous_source"
    incomplete_correction = "incomplete_correction"
    offer_not_lower = "offer_not_lower"
    customer_channel_required = "customer_channel_required"
    merchant_channel_only = "merchant_channel_only"
    system_channel = "system_channel"
    verification_required = "verification_required"
    nothing_to_override = "nothing_to_override"

    # A policy's written form.
    unknown_policy_member = "unknown_policy_member"  # known
    not_quoted = "not_quoted"  # YAML read a word as something else
    array_too_long = "array_too_long"  # maximum; or no array at all
    integer_out_of_range = "integer_out_of_range"  # minimum, maximum
    invalid_duration = "invalid_duration"  # minimum, units
    invalid_effective_from = "invalid_effective_from"
    invalid_policy_version = "invalid_policy_version"
    invalid_rule_name = "invalid_rule_name"
    invalid_merchant_id = "invalid_merchant_id"
    invalid_currency_code = "invalid_currency_code"
    invalid_next_step = "invalid_next_step"
    invalid_zone = "invalid_zone"
    unknown_zone = "unknown_zone"
    invalid_calendar = "invalid_calendar"
    unknown_calendar = "unknown_calendar"
    invalid_calendar_name = "invalid_calendar_name"
    invalid_date = "invalid_date"
    not_a_weekend = "not_a_weekend"
    duplicate_rule_name = "duplicate_rule_name"
    invalid_tier_name = "invalid_tier_name"
    duplicate_tier_name = "duplicate_tier_name"
    invalid_wall_time = "invalid_wall_time"
    working_hours_reversed = "working_hours_reversed"
    amount_needs_currency = "amount_needs_currency"
    empty_condition = "empty_condition"
    anchor_without_window = "anchor_without_window"
    length_or_until = "length_or_until"
    harsher_rule = "harsher_rule"  # of a merchant's own: it never takes effect
    harsher_deadline = "harsher_deadline"  # longest or shortest: what the policy has

    # A merchant.
    no_contact = "no_contact"
    invalid_email = "invalid_email"
    invalid_phone = "invalid_phone"
    invalid_url = "invalid_url"


class Fault(Struct, frozen=True):
    """What is wrong at `pointer`, an RFC 6901 pointer into what was sent."""

    pointer: str
    code: FaultCode
    members: Mapping[str, FaultMember] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.members.items())
        return f"{self.pointer}: {self.code}" + (f" ({told})" if told else "")
