"""The policies that ship with the service: the one that a new database starts with, and templates for other markets."""

from functools import cache
from importlib.resources import files

import yaml

from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy

_DEFAULT = "default"
SHIPPED = (_DEFAULT, "cn-wallet", "eu-card", "us-wallet")


def default_policy() -> Policy:
    return shipped_policy(_DEFAULT)


@cache
def shipped_policy(name: str) -> Policy:
    """One of `SHIPPED`. Raises KeyError for another name."""
    if name not in SHIPPED:
        raise KeyError(name)
    return parse_policy(yaml.safe_load(files("service").joinpath(f"policies/{name}.yaml").read_bytes()), new=True)
