"""Every event the daemon tells of: its level, its keys, what it means, and what to do about it.

The one table behind the log lines, the documentation and whatever else subscribes.
"""

from __future__ import annotations

from dataclasses import dataclass

RUN = ("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "attempt", "target")
"""What a run's line says of the run."""
OUTCOME = (
    *("lateness_ms", "duration_ms", "outcome", "from_status", "to_status", "error", "actor"),
)
"""What it says of how it went."""
NOTHING = "nothing"
_CLAIM = (
    *("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "lateness_ms", "target"),
    *("from_status", "to_status"),
)


@dataclass(frozen=True, slots=True)
class EventSpec:
    """How an event is told.

    ``keys`` are those beside every line's; each is there if it has a value. ``to_do`` is for who
    reads the log.
    """

    level: str
    meaning: str
    keys: tuple[str, ...] = ()
    to_do: str = NOTHING


EVENTS: dict[str, EventSpec] = {
    # The process.
    "starting": EventSpec(
        "info",
        "The daemon begins: version, process, where its database is.",
        ("version", "pid", "python", "tzdata", "database"),
    ),
    "ready": EventSpec(
        "info",
        "The schema is right, what is due soon is loaded, edits are listened for.",
        ("startup_ms", "window"),
    ),
    "waiting_for_database": EventSpec(
        "warning",
        "The database is not there yet; tried again.",
        ("error",),
        "Is it running, is `database_url` right? `scheduler.startup_timeout` is the end.",
    ),
    "stopping": EventSpec(
        "info",
        "Asked to stop: nothing more is claimed, open attempts may end.",
        ("in_flight", "drain_timeout_s"),
    ),
    "stopped": EventSpec("info", "Everything is written and closed."),
    "reloaded": EventSpec(
        "info",
        "The configuration was read again; names what needs a restart.",
        ("needs_restart",),
        "Restart if `needs_restart` names something.",
    ),
    "reload_failed": EventSpec(
        "error",
        "The new configuration is wrong; the old one stays in force.",
        ("error",),
        "Mend what `error` names, check with `campaignd check`, reload again.",
    ),
    "service_failed": EventSpec(
        "critical",
        "A part of the daemon died; the daemon stops.",
        ("service", "error"),
        "systemd or Docker starts it again; if it comes back, report `error`.",
    ),
    # The HTTP interface.
    "api_listening": EventSpec(
        "info", "The HTTP interface answers: host and port.", ("host", "port")
    ),
    "http_request": EventSpec(
        "info",
        "A request was answered; the key's name, never the key.",
        ("method", "path", "status", "duration_ms", "key", "key_id", "request_id", "remote"),
    ),
    "api_fault": EventSpec(
        "error",
        "A request failed by a fault of ours; request_id names it.",
        ("request_id", "error", "exception"),
        "Report it with `exception`; the request with that `request_id` was answered 500.",
    ),
    # The database.
    "database_lost": EventSpec(
        "error",
        "The database is away; said once, tried again with backoff.",
        ("error",),
        "Look at the database and the network to it. Nothing is lost meanwhile.",
    ),
    "database_back": EventSpec(
        "info",
        "The database is back; what came due meanwhile is handled now.",
        ("away_s",),
        "What became too late in `away_s` is told as `run_missed`.",
    ),
    "wedged": EventSpec(
        "error",
        "A part of the daemon hangs; under systemd the watchdog restarts it.",
        ("error",),
        "Without systemd: restart it. Report it, with the stack that follows under systemd.",
    ),
    "listen_lost": EventSpec(
        "warning",
        "No news of edits for a moment; polling goes on.",
        ("error",),
        "Nothing, unless it comes often: then look at what cuts the connection, such as a pooler.",
    ),
    "schema_newer": EventSpec(
        "info",
        "A newer release has migrated the database; this one can work on it. Said once.",
        ("schema", "compatible_since"),
        "Upgrade this node when it suits.",
    ),
    "history_pruned": EventSpec(
        "info",
        "Runs and events older than history.keep_days were deleted.",
        ("runs", "events", "keep_days"),
    ),
    "instants_moved": EventSpec(
        "warning",
        "Newer time-zone data moved this schedule's next instant.",
        ("campaign_id", "campaign_uuid", "timezone", "local", "was", "now"),
        "See whether the campaign is still to run then: its wall-clock time has stayed.",
    ),
    "schedule_unreadable": EventSpec(
        "error",
        "A stored schedule means nothing under the time-zone data here; it stays as it was.",
        ("campaign_id", "campaign_uuid", "timezone", "error"),
        "Save the schedule with a time zone that exists, or install newer time-zone data.",
    ),
    "tzdata_updated": EventSpec(
        "info",
        "Stored instants were computed anew with newer time-zone data.",
        ("schedules", "moved", "tzdata"),
    ),
    "tzdata_differs": EventSpec(
        "warning",
        "Another node has older time-zone data; what it plans is computed anew here.",
        ("tzdata", "others"),
        "Give all nodes the same time-zone data.",
    ),
    "embedded_initialising": EventSpec(
        "info", "The embedded PostgreSQL gets its data directory.", ("data",)
    ),
    "embedded_started": EventSpec(
        "info", "The embedded PostgreSQL was started for this process.", ("data", "pid")
    ),
    "embedded_joined": EventSpec(
        "info", "The embedded PostgreSQL runs already; it is shared.", ("data", "pid")
    ),
    "embedded_waiting": EventSpec(
        "info", "Another process starts or stops the embedded PostgreSQL.", ("path",)
    ),
    "embedded_path_opened": EventSpec(
        "warning",
        "A directory was opened for the server's own user.",
        ("path", "uid", "how"),
        "If it is to stay closed: a `state_dir` below directories that every user may pass.",
    ),
    "embedded_stopped": EventSpec(
        "info", "The embedded PostgreSQL was stopped; nobody used it.", ("pid",)
    ),
    # The nodes.
    "share_changed": EventSpec(
        "info", "Another number of nodes shares the schedules.", ("nodes", "shards")
    ),
    "node_lost": EventSpec(
        "warning",
        "A node's lease ended; its runs are due again.",
        ("lost_node", "runs_taken_over"),
        "See why that node died, hung, or lost the database.",
    ),
    "node_replaced": EventSpec(
        "warning",
        "This node's own lease had ended; it goes on as a new one.",
        ("node",),
        "See why it hung, or had no database, for longer than `scheduler.lease`.",
    ),
    "clock_skew": EventSpec(
        "warning",
        "This machine's clock and the database's differ by more.",
        ("skew_ms", "was_ms"),
        "Set the clock, by NTP; what is due goes by the database's all the same.",
    ),
    # Schedules and runs.
    "window_opened": EventSpec(
        "info",
        "A campaign's window opened.",
        ("campaign_id", "campaign_uuid", "from_status", "to_status"),
    ),
    "window_closed": EventSpec(
        "info",
        "A campaign's window closed.",
        ("campaign_id", "campaign_uuid", "from_status", "to_status"),
    ),
    "run_claimed": EventSpec(
        "debug", "An occurrence came due and is this node's to carry out.", _CLAIM
    ),
    "delivered": EventSpec(
        "info",
        "The log target: the run, with its payload, is this line.",
        (*RUN, "campaign_name", "payload"),
    ),
    "run_finished": EventSpec(
        "info", "A run completed: the one line that says how it went.", (*RUN, *OUTCOME)
    ),
    "run_failed": EventSpec(
        "error",
        "A run failed and is not tried again.",
        (*RUN, *OUTCOME),
        "Mend what `error` says, then `campaignd retry RUN`.",
    ),
    "run_cancelled": EventSpec(
        "info", "The campaign was stopped, and with it this run.", (*RUN, *OUTCOME)
    ),
    "run_retrying": EventSpec(
        "warning",
        "An attempt failed; there will be another.",
        (*RUN, *OUTCOME),
        "Nothing, unless it comes often: then look at the target.",
    ),
    "run_accepted": EventSpec(
        "info", "The target took the run and finishes it later.", (*RUN, *OUTCOME)
    ),
    "run_held": EventSpec(
        "error",
        "Nobody knows what an attempt came to; a person releases or fails the run.",
        (*RUN, *OUTCOME),
        "Ask the receiver whether it has the run; then `campaignd release RUN`, or with `--fail`.",
    ),
    "run_parked": EventSpec(
        "info",
        "The run waits in the table for a worker of its target.",
        (*RUN, *OUTCOME),
        "Nothing, if a worker of the target is at work.",
    ),
    "run_taken": EventSpec(
        "debug", "A worker has taken a run that waited for it.", (*RUN, "lateness_ms")
    ),
    "worker_ready": EventSpec(
        "info", "A worker waits for runs of its target.", ("target", "concurrency")
    ),
    "lease_ended": EventSpec(
        "warning",
        "A run was not finished within its own lease; taken over.",
        (*RUN, "outcome"),
        "See why it was not finished: its worker died, or needs a longer lease or heartbeats.",
    ),
    "attempt_stopped": EventSpec(
        "info", "The campaign was stopped, and with it this attempt.", RUN
    ),
    "target_paused": EventSpec(
        "warning",
        "A target failed often in a row; it is left alone a while.",
        ("target", "pause_s", "error"),
        "Look at the target; its runs wait, and go on when it answers.",
    ),
    "target_resumed": EventSpec(
        "info", "A target answers again; its runs go on, oldest first.", ("target",)
    ),
    "command_output": EventSpec(
        "info",
        "A line that a command wrote; so many for each attempt.",
        ("campaign_id", "run_id", "attempt", "target", "line"),
    ),
    "target_fault": EventSpec(
        "error",
        "A target raised while it was closed or told of a stop.",
        ("target", "error"),
        "Report it to whoever wrote the target.",
    ),
    "run_missed": EventSpec(
        "warning",
        "Later than misfire_grace_time, or paused: no attempt was made.",
        (*RUN, *OUTCOME),
        "See why it was late, or allow more `misfire_grace_time`.",
    ),
    "run_skipped": EventSpec(
        "info",
        "A run of the campaign was open, or a newer occurrence took over.",
        _CLAIM,
        "Nothing, if `coalesce` and `overlap` are meant so.",
    ),
    "run_queued": EventSpec(
        "info", "A run of the campaign is open; this one waits for it.", _CLAIM
    ),
    "occurrences_passed": EventSpec(
        "warning",
        "More than 100 occurrences went by in one stretch.",
        ("campaign_id", "campaign_uuid", "first", "last", "count", "cause"),
        "As for `run_missed`, or `run_skipped`: `cause` says which.",
    ),
    "lease_lost": EventSpec(
        "warning",
        "A late answer: the run is another node's, or was stopped.",
        (*RUN, "error"),
        "Nothing after a stop. Else a node or worker was thought dead while it lived: see why.",
    ),
    "claims_unheard": EventSpec(
        "warning",
        "Runs were claimed, but the answer was lost; they are due again, not_started.",
        ("count",),
    ),
    "runs_left_alone": EventSpec(
        "warning",
        "Another node has this node's runs; what was not begun stays so here.",
        ("count",),
    ),
    "runs_given_back": EventSpec(
        "warning",
        "Runs went back: their node stopped before they ended, or their campaign was paused first.",
        ("count",),
        "If it comes at every stop: a longer `scheduler.drain_timeout`.",
    ),
    "claim_failed": EventSpec(
        "error",
        "The database refused to claim this campaign's event.",
        ("campaign_id", "error"),
        "Report it; `campaignd show REF` has the schedule. It is tried again.",
    ),
    "finish_failed": EventSpec(
        "error",
        "The database refused this run's outcome.",
        (*RUN, "error"),
        "Report it. The run is made anew once this node has ended.",
    ),
    # The log itself.
    "library_message": EventSpec(
        "warning",
        "A library of ours said something, at the level that it has in the line.",
        ("logger", "message", "exception"),
        "Nothing, unless it comes with another fault.",
    ),
    "log_line_lost": EventSpec(
        "error",
        "Stands for a line whose values could not be written.",
        ("reason", "logger"),
        "Report it: a value could not be written.",
    ),
}
