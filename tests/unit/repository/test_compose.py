"""docker-compose.yml, as far as it can be judged without an engine: its parts, their order, and that it holds no secret."""

import re
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests import ROOT

OURS = ("migrate", "api", "worker", "sandbox")
REQUIRED = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_the_parts_and_how_many_of_each(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", *OURS}
    assert services["postgres"]["image"] == "postgres:18"
    assert {name: services[name]["deploy"]["replicas"] for name in ("api", "worker")} == {"api": 2, "worker": 2}
    assert {name: services[name]["command"][0] for name in OURS} == {
        "migrate": "migrate",
        "api": "serve",
        "worker": "worker",
        "sandbox": "sandbox",
    }


def test_each_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "worker"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["migrate"]["restart"] == "no"


def test_all_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    for name in set(services) - {"migrate"}:
        check = services[name]["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


def test_no_secret_stands_in_it(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            if re.search(r"PASSWORD|SECRET", name):
                assert REQUIRED.fullmatch(value), name
            if "://" in str(value) and "@" in str(value):
                assert re.match(r"postgresql://\w+:\$\{[A-Z_]+:\?[^}]+\}@", value), name


def test_what_must_be_given_stands_in_the_example_without_a_value() -> None:
    required = set(REQUIRED.findall((ROOT / "docker-compose.yml").read_text()))
    example = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#"))

    assert set(example) == required
    assert set(example.values()) == {""}


def test_every_variable_is_a_setting(services: dict[str, Any]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in OURS:
        assert set(services[name]["environment"]) <= known, name


def test_our_containers_have_no_more_rights_than_they_need(services: dict[str, Any]) -> None:
    for name in OURS:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        lines = service["build"]["dockerfile_inline"].splitlines()
        assert "USER 10001" in lines
        assert any("--require-hashes" in line for line in lines)


def test_only_the_migration_knows_the_owners_password(services: dict[str, Any]) -> None:
    knowing = {name for name in OURS if any("POSTGRES_PASSWORD" in str(value) for value in services[name]["environment"].values())}

    assert knowing == {"migrate"}


def test_each_part_is_told_what_it_needs_and_nothing_else(services: dict[str, Any]) -> None:
    told = {name: {variable.removeprefix(PREFIX) for variable in services[name]["environment"]} for name in OURS}

    assert told == {
        "migrate": {"DATABASE_URL", "DATABASE_OWNER_URL"},
        "api": {"DATABASE_URL", "SANDBOX_URL", "SANDBOX_SECRET", "JWKS_URL", "ISSUER", "AUDIENCE", "DATA_DIR"},
        "worker": {"DATABASE_URL", "SANDBOX_URL"},
        "sandbox": {"SANDBOX_SECRET"},
    }
    assert {name for name in OURS if "data:/data" in services[name].get("volumes", [])} == {"api"}


def test_the_rail_and_the_world_do_not_reach_the_database(services: dict[str, Any]) -> None:
    near = {name for name, service in services.items() if "database" in service.get("networks", [])}
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

    assert near == {"postgres", "migrate", "api", "worker"}
    assert services["postgres"]["networks"] == ["database"]
    assert document["networks"]["database"] == {"internal": True}


def test_nothing_but_loopback_is_published(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports == ["127.0.0.1:8000-8001:8000"]
