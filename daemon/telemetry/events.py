"""The log events of the daemon: level, keys, meaning, and what an operator can do.

`EVENTS` is the one table behind the log lines, docs/events.md and every other subscriber.
"""

from __future__ import annotations

from dataclasses import dataclass

RUN = ("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "attempt", "target")
"""Keys that identify an attempt of a run."""
OUTCOME = (
    *("lateness_ms", "duration_ms", "outcome", "from_status", "to_status", "error", "actor"),
)
"""Keys that describe the outcome of a run."""
NOTHING = "nothing"
_CLAIM = (
    *("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "lateness_ms", "target"),
    *("from_status", "to_status"),
)


@dataclass(frozen=True, slots=True)
class EventSpec:
    """The specification of a log event.

    Args:
        level: the level of the line, unless the caller passes its own.
        meaning: a full sentence for docs/events.md.
        keys: the event's own keys; a line has those that have a value.
        to_do: what an operator can do about the event.
    """

    level: str
    meaning: str
    keys: tuple[str, ...] = ()
    to_do: str = NOTHING


EVENTS: dict[str, EventSpec] = {
    # The process.
    "starting": EventSpec(
        "info",
        "The daemon is starting; the line names its version, process, time-zone data and database.",
        ("version", "pid", "python", "tzdata", "tzdata_source", "tzdata_path", "database"),
    ),
    "ready": EventSpec(
        "info",
        "Start-up is complete: the schema is current, the window is loaded and edits are received.",
        ("startup_ms", "window"),
    ),
    "waiting_for_database": EventSpec(
        "warning",
        "The database is unavailable at start-up; the daemon tries again.",
        ("error",),
        "Check the database and `database_url`. Start-up fails after `scheduler.startup_timeout`.",
    ),
    "stopping": EventSpec(
        "info",
        "The daemon was asked to stop: it claims no more runs and waits for open attempts.",
        ("in_flight", "drain_timeout_s"),
    ),
    "stopped": EventSpec("info", "Every outcome is written, and every connection is closed."),
    "reloaded": EventSpec(
        "info",
        "The configuration was reloaded; `needs_restart` lists settings that need a restart.",
        ("needs_restart",),
        "Restart the daemon if `needs_restart` has entries.",
    ),
    "reload_failed": EventSpec(
        "error",
        "The new configuration is invalid; the previous one stays in effect.",
        ("error",),
        "Fix the setting that `error` names, run `campaignd check`, then reload again.",
    ),
    "secrets_exposed": EventSpec(
        "warning",
        "Every user of the machine may read a file with secrets of this configuration.",
        ("path", "mode", "settings"),
        "`chmod o-r`, and let the daemon's user read it as owner or by its group.",
    ),
    "service_failed": EventSpec(
        "critical",
        "A service of the daemon failed, so the daemon stops.",
        ("service", "error"),
        "systemd or Docker restarts the daemon. If it fails again, report `error`.",
    ),
    # The HTTP interface.
    "api_listening": EventSpec(
        "info", "The HTTP interface serves requests on this host and port.", ("host", "port")
    ),
    "api_connections_lowered": EventSpec(
        "warning",
        "Fewer clients may connect than configured, because the process may open too few files.",
        ("max_connections", "configured"),
        "Raise the hard limit of open files, such as `LimitNOFILE=` or `ulimit -Hn`.",
    ),
    "api_accept_failed": EventSpec(
        "error",
        "New connections wait, because the process lacks descriptors or memory.",
        ("error",),
        "Raise the limit of open files, or lower `api.max_connections`.",
    ),
    "http_request": EventSpec(
        "info",
        "An HTTP request was answered. The line has the key's name, never the key, and what the "
        "request changed: an action of the audit log and its object.",
        (
            *("method", "path", "status", "duration_ms", "key", "key_id", "request_id", "remote"),
            *("action", "object_id", "object_name"),
        ),
    ),
    "api_key_expires_soon": EventSpec(
        "warning",
        "A key in use expires within 7 days; each process logs it once a day.",
        ("key", "key_id", "expires_at"),
        "Rotate the key with a new end: `campaignd keys rotate NAME --expires 90d`.",
    ),
    "api_error": EventSpec(
        "error",
        "A request failed because of a bug in campaignd; it was answered with status 500.",
        ("request_id", "error", "exception"),
        "Report `exception`. The response has the same `request_id`.",
    ),
    # The database.
    "transaction_aborted": EventSpec(
        "warning",
        "The server ended a transaction because of another one; it is tried again, and three times "
        "in a row are an outage.",
        ("service", "error"),
        "Nothing, unless it is frequent: then find which session locks campaigns or runs for long.",
    ),
    "database_lost": EventSpec(
        "error",
        "The database is unavailable; logged once, then tried again with backoff.",
        ("error",),
        "Check the database and its network. Nothing is lost meanwhile.",
    ),
    "database_back": EventSpec(
        "info",
        "The database is available again; overdue events are handled now.",
        ("away_s",),
        "Occurrences that became too late within `away_s` are logged as `run_missed`.",
    ),
    "service_stalled": EventSpec(
        "error",
        "A service of the daemon is stalled; under systemd the watchdog restarts the daemon.",
        ("error",),
        "Without systemd, restart the daemon. Report the event with the stack in the journal.",
    ),
    "listen_elsewhere": EventSpec(
        "error",
        "No notification arrives at `listen_database_url`; edits are found by polling.",
        to_do="Let it name the same database as `database_url`, and no pooler.",
    ),
    "listen_lost": EventSpec(
        "warning",
        "The notification connection was lost; edits are found by polling until it is back.",
        ("error",),
        "Nothing, unless it is frequent: then find what closes the connection, such as a pooler.",
    ),
    "privilege_missing": EventSpec(
        "error",
        "The database's role lost a privilege, or row security hides rows from it; logged once.",
        ("error",),
        "Grant it; `campaignd db roles` prints the SQL. `/readyz` is 503 until then.",
    ),
    "schema_newer": EventSpec(
        "info",
        "A newer release migrated the database, and this release can use it; logged once.",
        ("schema", "compatible_since"),
        "Upgrade this node when convenient.",
    ),
    "history_pruned": EventSpec(
        "info",
        "Runs and events older than `history.keep_days` were deleted.",
        ("runs", "events", "keep_days"),
    ),
    "instants_moved": EventSpec(
        "warning",
        "Newer time-zone data moved this schedule's next instant.",
        ("campaign_id", "campaign_uuid", "timezone", "local", "was", "now"),
        "Check that the campaign should run at the new instant: its wall-clock time is unchanged.",
    ),
    "schedule_invalid": EventSpec(
        "error",
        "A stored schedule is invalid with this node's time-zone data; it was left unchanged.",
        ("campaign_id", "campaign_uuid", "timezone", "error"),
        "Save the schedule with an existing time zone, or install newer time-zone data.",
    ),
    "tzdata_updated": EventSpec(
        "info",
        "Stored instants were recomputed with newer time-zone data.",
        ("schedules", "moved", "tzdata"),
    ),
    "tzdata_differs": EventSpec(
        "warning",
        "Another node has older time-zone data; this node recomputes that node's instants.",
        ("tzdata", "others"),
        "Install the same time-zone data on all nodes.",
    ),
    "embedded_initialising": EventSpec(
        "info", "The data directory of the embedded PostgreSQL is being created.", ("data",)
    ),
    "embedded_started": EventSpec(
        "info", "This process started the embedded PostgreSQL.", ("data", "pid")
    ),
    "embedded_joined": EventSpec(
        "info",
        "The embedded PostgreSQL was already running; this process shares it.",
        ("data", "pid"),
    ),
    "embedded_waiting": EventSpec(
        "info", "Another process is starting or stopping the embedded PostgreSQL.", ("path",)
    ),
    "embedded_path_opened": EventSpec(
        "warning",
        "A directory was made accessible to the server's own user.",
        ("path", "uid", "how"),
        "To keep it closed, put `state_dir` below directories that every user may enter.",
    ),
    "embedded_stopped": EventSpec(
        "info", "The embedded PostgreSQL was stopped, because no process used it.", ("pid",)
    ),
    # The nodes.
    "shards_reassigned": EventSpec(
        "info", "The set of live nodes changed; shards were reassigned.", ("nodes", "shards")
    ),
    "sessions_not_named": EventSpec(
        "warning",
        "The database does not show the names of this node's sessions; no node could end them.",
        to_do="Find the pooler that replaces `application_name`, and let it pass the name on.",
    ),
    "sessions_not_ended": EventSpec(
        "warning",
        "Sessions of a lost node could not be ended; a frozen process may keep rows locked.",
        ("lost_node", "role"),
        "Let all nodes use one role, or grant `pg_signal_backend` to their roles.",
    ),
    "node_lost": EventSpec(
        "warning",
        "Another node's lease expired; its runs are due again.",
        ("lost_node", "runs_taken_over"),
        "Find out why that node died, hung, or lost the database.",
    ),
    "node_replaced": EventSpec(
        "warning",
        "This node's lease expired; it continues under a new identity.",
        ("node",),
        "Find out why it hung, or had no database, for longer than `scheduler.lease`.",
    ),
    "clock_skew": EventSpec(
        "warning",
        "The offset between this machine's clock and the database clock has grown.",
        ("skew_ms", "was_ms"),
        "Synchronise the clock with NTP. Due times follow the database clock regardless.",
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
        "debug", "An occurrence is due, and this node claimed its run.", _CLAIM
    ),
    "delivered": EventSpec(
        "info",
        "The log target delivered a run by writing this line with its payload.",
        (*RUN, "campaign_name", "payload"),
    ),
    "run_finished": EventSpec("info", "A run completed.", (*RUN, *OUTCOME)),
    "run_failed": EventSpec(
        "error",
        "A run failed and is not retried.",
        (*RUN, *OUTCOME),
        "Fix the cause in `error`, then run `campaignd retry RUN`.",
    ),
    "run_cancelled": EventSpec(
        "info", "A run was cancelled because its campaign was stopped.", (*RUN, *OUTCOME)
    ),
    "run_retrying": EventSpec(
        "warning",
        "An attempt failed; another one follows.",
        (*RUN, *OUTCOME),
        "Nothing, unless it is frequent: then check the target.",
    ),
    "run_accepted": EventSpec(
        "info", "The target accepted the run and finishes it later.", (*RUN, *OUTCOME)
    ),
    "run_held": EventSpec(
        "error",
        "A run is held until an operator decides: the outcome of an attempt is unknown, or, with "
        "attempt 0, none was to start.",
        (*RUN, *OUTCOME),
        "With an attempt, ask the receiver whether it has the run; then `campaignd release RUN`, "
        "or add `--fail`.",
    ),
    "run_awaiting_worker": EventSpec(
        "info",
        "The run is queued in the table until a worker of its target acquires it.",
        (*RUN, *OUTCOME),
        "Nothing, as long as a worker of the target is running.",
    ),
    "run_acquired": EventSpec("debug", "A worker acquired a queued run.", (*RUN, "lateness_ms")),
    "worker_ready": EventSpec(
        "info", "A worker is ready and polls for runs of its target.", ("target", "concurrency")
    ),
    "run_lease_expired": EventSpec(
        "warning",
        "A run was not finished within its lease; it was reclaimed.",
        (*RUN, "outcome"),
        "Find out why: its worker died, or needs a longer lease or more frequent heartbeats.",
    ),
    "attempt_cancelled": EventSpec(
        "info",
        "An attempt was cancelled: its campaign was stopped, or this node makes the next one.",
        RUN,
    ),
    "target_paused": EventSpec(
        "warning",
        "A target failed repeatedly; its circuit breaker is open.",
        ("target", "pause_s", "error"),
        "Check the target. Its runs wait and continue when it recovers.",
    ),
    "target_resumed": EventSpec(
        "info", "A target recovered; its runs continue, oldest first.", ("target",)
    ),
    "command_output": EventSpec(
        "info",
        "A line of output from a command target; the number of lines per attempt is limited.",
        ("campaign_id", "run_id", "attempt", "target", "line"),
    ),
    "target_error": EventSpec(
        "error",
        "A target raised an exception while it was closed or an attempt was cancelled.",
        ("target", "error"),
        "Report `error` to the author of the target.",
    ),
    "run_missed": EventSpec(
        "warning",
        "An occurrence exceeded `misfire_grace_time`, or passed while paused; no attempt was made.",
        (*RUN, *OUTCOME),
        "Find out why it was late, or raise `misfire_grace_time`.",
    ),
    "run_skipped": EventSpec(
        "info",
        "A run was skipped because another run was open, or a newer occurrence replaced it.",
        _CLAIM,
        "Nothing, if `coalesce` and `overlap` are set as intended.",
    ),
    "run_queued": EventSpec("info", "A run waits for the campaign's open run to end.", _CLAIM),
    "occurrences_passed": EventSpec(
        "warning",
        "More than 100 occurrences passed in one stretch; they share this line.",
        ("campaign_id", "campaign_uuid", "first", "last", "count", "cause"),
        "See `run_missed` or `run_skipped`, according to `cause`.",
    ),
    "campaign_paused": EventSpec(
        "error",
        "So many runs in a row failed that the campaign is paused, as its schedule asks.",
        ("campaign_id", "campaign_uuid", "cause", "count"),
        "Find out why its runs fail, then `campaignd start ID`.",
    ),
    "lease_lost": EventSpec(
        "warning",
        "An outcome was refused: another node has the run, or the run was cancelled.",
        (*RUN, "error"),
        "Nothing after a stop. Otherwise a live node or worker was considered dead: find out why.",
    ),
    "unacknowledged_claims_released": EventSpec(
        "warning",
        "The database's reply to a claim was lost; the runs were released before any attempt.",
        ("count",),
    ),
    "runs_abandoned": EventSpec(
        "warning",
        "This node lost its lease; unstarted runs were abandoned and belong to another node.",
        ("count",),
    ),
    "runs_released": EventSpec(
        "warning",
        "Runs were released: their node stopped before they ended, their campaign was paused, or "
        "they were frozen.",
        ("count",),
        "If it occurs at every stop, raise `scheduler.drain_timeout`.",
    ),
    "claim_failed": EventSpec(
        "error",
        "The database refuses to claim this campaign's event; retried, and logged once a minute.",
        ("campaign_id", "error"),
        "Report it, with the schedule that `campaignd show REF` prints.",
    ),
    "finish_failed": EventSpec(
        "error",
        "The database refused the outcome of this run.",
        (*RUN, "error"),
        "Report it. The run is attempted again after this node ends.",
    ),
    "outcomes_waiting": EventSpec(
        "warning",
        "Another database session has locked campaigns or runs; their outcomes wait to be written.",
        ("count", "waited_s", "campaign_id", "blocking_pid"),
        "Look at `blocking_pid` in `pg_stat_activity`; end the transaction if it was forgotten.",
    ),
    # The auditor.
    "audit_finding": EventSpec(
        "error",
        "The auditor found that rows contradict a schedule; a notice is logged as a warning.",
        ("kind", "campaign_id", "run_id", "scheduled_for", "details", "remedy"),
        "Do what `remedy` names; `docs/audit.md` explains each kind.",
    ),
    "audit_cleared": EventSpec(
        "info",
        "A finding of the auditor no longer stands.",
        ("kind", "campaign_id", "run_id", "scheduled_for"),
    ),
    "audit_round": EventSpec(
        "info",
        "The auditor has looked at every campaign of this node once more.",
        ("campaigns", "occurrences", "findings", "took_s"),
    ),
    "audit_pass": EventSpec(
        "debug",
        "The auditor has looked at some campaigns: what is stuck, what ran just now, or the next.",
        ("look", "campaigns", "occurrences"),
    ),
    "frozen": EventSpec(
        "warning",
        "Nothing begins any more, of one target or at all: this node obeys a freeze.",
        ("scope", "by", "until", "note", "took_ms"),
        "When its reason is gone, `campaignd thaw`.",
    ),
    "thawed": EventSpec(
        "info",
        "A freeze has ended; `overdue` is the cause that what came due meanwhile gets, if any.",
        ("scope", "overdue", "took_ms"),
        "Decide on what is held: `campaignd held`.",
    ),
    # The log itself.
    "library_message": EventSpec(
        "warning",
        "A library logged a message; the line has the library's own level.",
        ("logger", "message", "exception"),
        "Nothing, unless another error accompanies it.",
    ),
    "log_line_lost": EventSpec(
        "error",
        "This line replaces one whose values could not be serialised.",
        ("reason", "logger"),
        "Report it.",
    ),
    "log_lines_lost": EventSpec(
        "error",
        "The reader of the log did not read for long; this many lines before this one are missing.",
        ("count",),
        "Find out why the service manager, container engine or terminal did not read.",
    ),
}
