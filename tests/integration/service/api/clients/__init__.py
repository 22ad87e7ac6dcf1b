"""Clients made by generators, and the calls that they make: the examples of the OpenAPI document."""
