"""The policy that ships with the service, which a new database starts with."""

from importlib.resources import files

import yaml

from workflows.domain.policy import Policy
from workflows.domain.policy_form import parse_policy


def default_policy() -> Policy:
    return parse_policy(yaml.safe_load(files("service").joinpath("policies/default.yaml").read_bytes()), new=True)
