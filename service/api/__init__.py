"""The REST interface: a file per resource."""
