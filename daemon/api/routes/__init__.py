"""The HTTP endpoints, one module for each resource: parse, call, respond."""
