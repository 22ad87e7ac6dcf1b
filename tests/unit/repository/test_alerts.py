"""The alert rules: each names only what is shown, and says what to do."""

import re
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.api.metrics_page import DatabaseFigures, _Families
from service.metrics import CONNECTIONS_REFUSED, LEASES_LOST, RAIL_ANSWERS, RAIL_SECONDS, REFUSED, REQUESTS, SECONDS, WAITING
from tests import ROOT
from workflows.storage.figures import FIGURES

FILE: Final = ROOT / ".github" / "alerts.yaml"
RULES: Final[list[dict[str, Any]]] = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
_COUNTED: Final = (CONNECTIONS_REFUSED, LEASES_LOST, RAIL_ANSWERS, RAIL_SECONDS, REFUSED, REQUESTS, SECONDS, WAITING)
_SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def shown() -> dict[str, frozenset[str]]:
    """The labels of every metric, by its name."""
    names: dict[str, frozenset[str]] = {}
    for metric in _COUNTED:
        (family,) = metric.describe()
        labels = frozenset(metric._labelnames) | {"le"}
        names |= {family.name + suffix: labels for suffix in _SUFFIXES[family.type]}
    for gauge in _Families(DatabaseFigures(False)).collect():
        names[gauge.name] = frozenset(gauge._labelnames)
    return names


def _id(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_a_rule_names_what_is_shown_and_says_what_to_do(rule: dict[str, Any]) -> None:
    expression, known = rule["expr"], shown()
    named = set(re.findall(r"refundry_[a-z_]+", expression))

    assert named
    assert named <= set(known), named - set(known)
    labels = {one.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for one in group.split(",")}
    labels |= set(re.findall(r"([a-z]+)=~?\"", expression))
    assert labels <= frozenset().union(*(known[name] for name in named)), labels
    assert set(re.findall(r"\$labels\.([a-z]+)", str(rule["annotations"]))) <= labels
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert all(rule["annotations"][part].rstrip().endswith(".") for part in ("summary", "runbook"))
    assert re.fullmatch(r"[0-9]+[smhd]", rule.get("for", "1m"))
    mentioned = set(re.findall(r"refundry_[a-z_]+", rule["annotations"]["runbook"]))
    bases = {name.removesuffix("_bucket") for name in known}
    assert mentioned <= set(known) | bases


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_an_expression_is_well_formed(rule: dict[str, Any]) -> None:
    """As far as it can be told without Prometheus: brackets pair, ranges are lengths of time, it compares or asks for absence."""
    expression, open_ones = rule["expr"], list[str]()
    for sign in re.sub(r'"[^"]*"', "", expression):
        if sign in "([{":
            open_ones.append(sign)
        elif sign in ")]}":
            assert open_ones.pop() + sign in {"()", "[]", "{}"}
    assert not open_ones
    assert all(re.fullmatch(r"[0-9]+[smhd]", one) for one in re.findall(r"\[([^]]*)\]", expression))
    assert re.search(r" [<>] [0-9.]+$", expression) or expression.startswith("absent(")
    for name in re.findall(r"(?:rate|increase)\((refundry_[a-z_]+)", expression):
        assert name.endswith(("_total", "_bucket"))
    for name in re.findall(r"sum[^(]*\((refundry_[a-z_]+)", expression):
        assert name.endswith("_total"), "what each API process tells alike is not added up"


def test_each_rule_has_a_name_of_its_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_states_that_rules_ask_for_exist() -> None:
    from workflows.domain.enums import CancellationState, LegState

    asked = {state for rule in RULES for state in re.findall(r'state="([a-z_]+)"', rule["expr"])}
    assert asked <= {*CancellationState, *LegState}
    assert all(state in FIGURES for state in asked)


def test_the_databases_figures_are_text_that_prometheus_reads() -> None:
    from prometheus_client import generate_latest

    registry = CollectorRegistry()
    registry.register(_Families(DatabaseFigures(False)))

    families = list(text_string_to_metric_families(generate_latest(registry).decode()))

    assert next(one for one in families if one.name == "refundry_database_answers").samples[0].value == 0
