"""What callers send and get: the pydantic models of each resource, In, Out and Query beside each other."""
