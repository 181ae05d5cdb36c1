"""Every event the daemon tells of: its level, and what it means to whoever reads the log.

The one table behind the log lines, the documentation and whatever else subscribes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """How an event is told."""

    level: str
    meaning: str


EVENTS: dict[str, Told] = {
    # The process.
    "starting": Told("info", "The daemon begins: version, process, where its database is."),
    "ready": Told(
        "info",
        "The schema is right, what is due soon is loaded, edits are listened for.",
    ),
    "waiting_for_database": Told("warning", "The database is not there yet; tried again."),
    "stopping": Told("info", "Asked to stop: nothing more is claimed, open attempts may end."),
    "stopped": Told("info", "Everything is written and closed."),
    "reloaded": Told("info", "The configuration was read again; names what needs a restart."),
    "reload_failed": Told("error", "The new configuration is wrong; the old one stays in force."),
    "service_failed": Told("critical", "A part of the daemon died; the daemon stops."),
    # The HTTP interface.
    "api_listening": Told("info", "The HTTP interface answers: host and port."),
    "http_request": Told("info", "A request was answered; the key's name, never the key."),
    "api_fault": Told("error", "A request failed by a fault of ours; request_id names it."),
    # The database.
    "database_lost": Told("error", "The database is away; said once, tried again with backoff."),
    "database_back": Told("info", "The database is back; what came due meanwhile is handled now."),
    "wedged": Told("error", "A part of the daemon hangs; under systemd the watchdog restarts it."),
    "listen_lost": Told("warning", "No news of edits for a moment; polling goes on."),
    "schema_newer": Told(
        "info",
        "A newer release has migrated the database; this one can work on it. Said once.",
    ),
    "history_pruned": Told("info", "Runs and events older than history.keep_days were deleted."),
    "instants_moved": Told("warning", "Newer time-zone data moved this schedule's next instant."),
    "schedule_unreadable": Told(
        "error",
        "A stored schedule means nothing under the time-zone data here; it stays as it was.",
    ),
    "tzdata_updated": Told("info", "Stored instants were computed anew with newer time-zone data."),
    "tzdata_differs": Told(
        "warning",
        "Another node has older time-zone data; what it plans is computed anew here.",
    ),
    "embedded_initialising": Told("info", "The embedded PostgreSQL gets its data directory."),
    "embedded_started": Told("info", "The embedded PostgreSQL was started for this process."),
    "embedded_joined": Told("info", "The embedded PostgreSQL runs already; it is shared."),
    "embedded_waiting": Told("info", "Another process starts or stops the embedded PostgreSQL."),
    "embedded_path_opened": Told("warning", "A directory was opened for the server's own user."),
    "embedded_stopped": Told("info", "The embedded PostgreSQL was stopped; nobody used it."),
    # The nodes.
    "share_changed": Told("info", "Another number of nodes shares the schedules."),
    "node_lost": Told("warning", "A node's lease ended; its runs are due again."),
    "node_replaced": Told("warning", "This node's own lease had ended; it goes on as a new one."),
    "clock_skew": Told("warning", "This machine's clock and the database's differ by more."),
    # Schedules and runs.
    "window_opened": Told("info", "A campaign's window opened."),
    "window_closed": Told("info", "A campaign's window closed."),
    "run_claimed": Told("debug", "An occurrence came due and is this node's to carry out."),
    "delivered": Told("info", "The log target: the run, with its payload, is this line."),
    "run_finished": Told("info", "A run completed: the one line that says how it went."),
    "run_failed": Told("error", "A run failed and is not tried again."),
    "run_cancelled": Told("info", "The campaign was stopped, and with it this run."),
    "run_retrying": Told("warning", "An attempt failed; there will be another."),
    "run_accepted": Told("info", "The target took the run and finishes it later."),
    "run_held": Told(
        "error", "Nobody knows what an attempt came to; a person releases or fails the run."
    ),
    "run_parked": Told("info", "The run waits in the table for a worker of its target."),
    "run_taken": Told("debug", "A worker has taken a run that waited for it."),
    "worker_ready": Told("info", "A worker waits for runs of its target."),
    "lease_ended": Told("warning", "A run was not finished within its own lease; taken over."),
    "attempt_stopped": Told("info", "The campaign was stopped, and with it this attempt."),
    "target_paused": Told("warning", "A target failed often in a row; it is left alone a while."),
    "target_resumed": Told("info", "A target answers again; its runs go on, oldest first."),
    "command_output": Told("info", "A line that a command wrote; so many for each attempt."),
    "target_fault": Told("error", "A target raised while it was closed or told of a stop."),
    "run_missed": Told("warning", "Later than misfire_grace_time, or paused: no attempt was made."),
    "run_skipped": Told("info", "A run of the campaign was open, or a newer occurrence took over."),
    "run_queued": Told("info", "A run of the campaign is open; this one waits for it."),
    "occurrences_passed": Told("warning", "More than 100 occurrences went by in one stretch."),
    "lease_lost": Told("warning", "A late answer: the run is another node's, or was stopped."),
    "claims_unheard": Told(
        "warning", "Runs were claimed, but the answer was lost; they are due again, unbegun."
    ),
    "runs_left_alone": Told(
        "warning", "Another node has this node's runs; what was not begun stays so here."
    ),
    "runs_given_back": Told("warning", "Attempts did not end in time; other nodes make them anew."),
    "claim_failed": Told("error", "The database refused to claim this campaign's event."),
    "finish_failed": Told("error", "The database refused this run's outcome."),
}
