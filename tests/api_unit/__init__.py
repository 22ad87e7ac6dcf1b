"""The border of the REST interface, without a server or a database."""
