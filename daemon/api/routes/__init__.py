"""The HTTP endpoints, one module for each resource: parse, call, respond."""

from daemon.api.routes import (
    audit,
    audit_log,
    bulk,
    campaigns,
    cluster,
    explanations,
    feed,
    freeze,
    held_runs,
    history,
    keys,
    lifecycle,
    occurrences,
    retries,
    runs,
    schedules,
    targets,
)

API_ROUTES = (
    campaigns,
    lifecycle,
    schedules,
    occurrences,
    feed,
    history,
    explanations,
    retries,
    held_runs,
    freeze,
    runs,
    bulk,
    targets,
    cluster,
    keys,
    audit,
    audit_log,
)
"""The modules of the routes below ``/api/v1``, in the order of the specification."""
