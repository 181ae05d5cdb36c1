"""Builds the parts of the daemon and connects them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from config.environment import command_environment
from daemon import __version__
from daemon.campaign_service import CampaignService
from daemon.cluster.heartbeat import Heartbeat
from daemon.cluster.node_rescuer import NodeRescuer
from daemon.cluster.store import NodeInfo
from daemon.domain.ports import Clock, Emit
from daemon.domain.schedule.zone_data import tzdata_version
from daemon.maintenance.auditor import Auditor, AuditorOptions
from daemon.maintenance.failure_watch import FailureWatch
from daemon.maintenance.lease_reaper import LeaseReaper
from daemon.maintenance.periodic import PeriodicTask
from daemon.maintenance.privilege_watch import EVERY_S as PRIVILEGES_EVERY_S
from daemon.maintenance.privilege_watch import PrivilegeWatch
from daemon.maintenance.pruner import Pruner, Retention
from daemon.maintenance.resumer import Resumer
from daemon.maintenance.schema_watch import SchemaWatch
from daemon.pipeline.brake_watch import BrakeWatch
from daemon.pipeline.canceller import RunCanceller
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.pipeline import Pipeline
from daemon.pipeline.target_states import TargetStates
from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.service import Service
from daemon.runtime.stopwatch import LoopTurn
from daemon.runtime.watchdog import Watchdog
from daemon.targets.registry import Built, build_all
from daemon.telemetry import load_metrics, load_traces
from daemon.telemetry.event_log import FanOut
from daemon.timer.edit_listener import EditListener
from daemon.timer.inbox import TimerInbox
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from storage.audit_findings import AuditFindings
from storage.auditor_reads import AuditorReads
from storage.brakes import BrakeStore
from storage.campaigns import Campaigns
from storage.engine import Database
from storage.firing_database import FiringDatabase
from storage.leases import LeaseTable
from storage.nodes import Nodes
from storage.notifications import Notifications
from storage.privilege_checks import require_privileges_in
from storage.prune import Prune
from storage.runs import RunStore
from storage.schema import require_schema_in
from storage.session import FIRING
from storage.timers import Timers
from storage.tzdata_refresh import TzdataRefresh

if TYPE_CHECKING:
    from config.settings import Settings
    from daemon.telemetry.metrics import Metrics
    from daemon.telemetry.traces import Traces

BEATS_PER_SIGN = 5
"""Watchdog beats for each sign of life, so that one slow beat does not delay the sign."""


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """The process that the daemon runs in, as the command that starts it describes it."""

    settings: Settings
    dsn: str
    emit: Emit
    reload: Callable[[], Settings]
    """Reads the configuration again. Raises ConfigurationError."""
    apply_log: Callable[[Settings, str], None]
    """Configures the log for a node's id."""
    notify: Callable[..., None]
    """Notifies the service manager: ``ready``, ``stopping``, ``reloading``, ``status`` ..."""
    embedded: bool = False
    sign_every: float | None = None
    """Seconds between signs of life that the service manager expects; None: it expects none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a daemon, connected and not started."""

    tag: str
    """Six hexadecimal digits of this process, in its node id and its database sessions."""
    emit: Emit
    metrics: Metrics | None
    traces: Traces | None
    clock: Clock
    health: DatabaseHealth
    database: FiringDatabase
    database_clock: DatabaseClock
    node: NodeIdentity
    run_store: RunStore
    timers: Timers
    watchdog: Watchdog
    scheduler: TimerScheduler
    inbox: TimerInbox
    loader: Loader
    notifications: Notifications
    edit_listener: EditListener
    pipeline: Pipeline
    canceller: RunCanceller
    brake_watch: BrakeWatch
    heartbeat: Heartbeat
    node_rescuer: NodeRescuer
    lease_reaper: LeaseReaper
    resumer: Resumer
    failure_watch: FailureWatch
    pruner: Pruner
    auditor: Auditor | None
    audit_database: Database
    """One connection, opened by the auditor's first look: firing never waits for it."""
    schema_watch: SchemaWatch
    schema_task: PeriodicTask
    privilege_watch: PrivilegeWatch
    privilege_task: PeriodicTask
    tzdata_refresh: TzdataRefresh
    tzdata_task: PeriodicTask

    @property
    def services(self) -> list[Service]:
        """Every service of the parts; the death of one ends the daemon."""
        return [
            self.heartbeat,
            self.node_rescuer,
            self.pipeline.completer,
            self.pipeline.claimer,
            self.edit_listener,
            self.loader,
            self.lease_reaper,
            self.resumer,
            self.failure_watch,
            self.canceller,
            self.brake_watch,
            self.pruner,
            self.schema_task,
            self.privilege_task,
            self.tzdata_task,
            *([] if self.auditor is None else [self.auditor]),
        ]


def build_targets(settings: Settings, emit: Emit) -> Built:
    """Return the configured targets, by name."""
    return build_all(settings.targets, emit, environment=command_environment())


def build_parts(process: ProcessContext, in_force: Callable[[], Settings]) -> Parts:
    """Build the parts of a daemon.

    Args:
        process: the process that the daemon runs in.
        in_force: the settings in force; they may change with a reload.
    """
    settings, scheduler_settings = process.settings, process.settings.scheduler
    # Without the API nothing reads the metrics, so their library is not loaded.
    metrics = load_metrics() if settings.api.enabled else None
    traces = load_traces() if settings.traces.enabled else None
    subscribers = [each for each in (process.emit, metrics, traces) if each is not None]
    emit = subscribers[0] if len(subscribers) == 1 else FanOut(*subscribers)
    tag = secrets.token_hex(3)

    clock = SystemClock()
    database_clock = DatabaseClock(clock)
    health = DatabaseHealth(emit, clock)
    node = NodeIdentity(clock)
    database = FiringDatabase(
        process.dsn,
        application_name=f"campaignd-{tag}",
        pool_size=settings.database.pool_size,
        pool_timeout=settings.database.pool_timeout,
        timeouts=FIRING,
        prepare=settings.listen_database_url is None,  # a separate URL means a pooler in between
    )
    run_store = RunStore(database, node)
    leases = LeaseTable(database, node)
    nodes = Nodes(database)

    scheduler = TimerScheduler(clock, database_clock)
    inbox = TimerInbox(scheduler)
    failure_watch = FailureWatch(
        CampaignService(Campaigns(database), emit=emit), node, health=health
    )
    context = PipelineContext(
        store=run_store,
        timer=inbox,
        node=node,
        clock=clock,
        database_clock=database_clock,
        turn=LoopTurn(clock, database_clock),
        health=health,
        emit=emit,
        batch=scheduler_settings.batch,
        on_failed=failure_watch.on_failed,
    )
    pipeline = Pipeline(context, build_targets(settings, emit))
    beat_every = process.sign_every and process.sign_every / BEATS_PER_SIGN
    watchdog = Watchdog(
        lambda: process.notify("watchdog"), every=beat_every, clock=clock, emit=emit
    )
    timers = Timers(database)
    brake_watch = BrakeWatch(BrakeStore(database), context, pipeline.pools, pipeline.plans)
    loader = Loader(
        timers,
        scheduler,
        inbox,
        pipeline,
        node=node,
        database_clock=database_clock,
        health=health,
        watchdog=watchdog,
        horizon=scheduler_settings.horizon,
        poll=min(scheduler_settings.poll, beat_every or scheduler_settings.poll),
        obey_brakes=brake_watch.obey,
    )
    canceller = RunCanceller(leases, context, pipeline.pools, every=scheduler_settings.poll)
    lease_reaper = LeaseReaper(
        leases,
        node,
        pipeline,
        inbox,
        database_clock=database_clock,
        health=health,
        emit=emit,
        every=scheduler_settings.poll,
    )
    resumer = Resumer(
        Campaigns(database), scheduler_settings.misfire_grace_time, health=health, emit=emit
    )
    loader.on_pause_over = resumer.wake
    notifications = Notifications(settings.listen_database_url or process.dsn)
    edit_listener = EditListener(
        notifications.listen,
        inbox,
        health=health,
        emit=emit,
    )
    edit_listener.on_edited += [canceller.campaigns_edited, lambda _ids: lease_reaper.wake()]
    health.on_recovery.append(inbox.reload)

    node_rescuer = NodeRescuer(nodes, node, inbox, health=health, emit=emit)
    listener = DaemonListener(
        scheduler,
        inbox,
        pipeline,
        brake_watch,
        node_rescuer,
        lambda: process.apply_log(in_force(), node.id),
    )
    target_states = TargetStates(pipeline.pools, context.in_flight, database_clock)
    heartbeat = Heartbeat(
        nodes,
        NodeInfo(
            settings.node_name,
            socket.gethostname(),
            os.getpid(),
            __version__,
            tzdata_version(),
            tag,
        ),
        node,
        listener,
        in_flight=context.in_flight,
        targets=target_states,
        lease=scheduler_settings.lease,
        every=scheduler_settings.heartbeat,
        clock=clock,
        database_clock=database_clock,
        health=health,
        emit=emit,
        applied_to=lambda: loader.applied_to,
    )
    edit_listener.on_edited.append(lambda ids: None if ids else heartbeat.beat_early())
    audit_database = Database(
        process.dsn,
        application_name=f"campaignd-{tag}",
        pool_size=1,
        overflow=0,
        timeouts=FIRING,
        prepare=settings.listen_database_url is None,
    )
    auditor = None
    if settings.audit.enabled:
        auditor = _build_auditor(
            settings, audit_database, pipeline, node, health=health, clock=clock, emit=emit
        )
    loader.on_applied.append(heartbeat.beat_early)
    schema_watch = SchemaWatch(lambda: require_schema_in(database), emit=emit)
    privilege_watch = PrivilegeWatch(lambda: require_privileges_in(database), emit=emit)
    tzdata_refresh = TzdataRefresh(database, emit)
    return Parts(
        tag=tag,
        emit=emit,
        metrics=metrics,
        traces=traces,
        clock=clock,
        health=health,
        database=database,
        database_clock=database_clock,
        node=node,
        run_store=run_store,
        timers=timers,
        watchdog=watchdog,
        scheduler=scheduler,
        inbox=inbox,
        loader=loader,
        notifications=notifications,
        edit_listener=edit_listener,
        pipeline=pipeline,
        canceller=canceller,
        brake_watch=brake_watch,
        heartbeat=heartbeat,
        node_rescuer=node_rescuer,
        lease_reaper=lease_reaper,
        resumer=resumer,
        failure_watch=failure_watch,
        pruner=Pruner(Prune(database), lambda: _retention_from(in_force()), emit=emit),
        auditor=auditor,
        audit_database=audit_database,
        schema_watch=schema_watch,
        schema_task=PeriodicTask("schema_watch", schema_watch.check),
        privilege_watch=privilege_watch,
        privilege_task=PeriodicTask(
            "privilege_watch", privilege_watch.check, every=PRIVILEGES_EVERY_S
        ),
        tzdata_refresh=tzdata_refresh,
        tzdata_task=PeriodicTask("tzdata_refresh", tzdata_refresh.refresh),
    )


def _build_auditor(
    settings: Settings,
    database: Database,
    pipeline: Pipeline,
    node: NodeIdentity,
    *,
    health: DatabaseHealth,
    clock: Clock,
    emit: Emit,
) -> Auditor:
    audit = settings.audit
    return Auditor(
        AuditorReads(database),
        AuditFindings(database),
        AuditorOptions(
            timedelta(seconds=audit.sweep),
            timedelta(seconds=audit.window),
            timedelta(seconds=audit.held_after),
        ),
        shards=lambda: node.shards,
        blocked_targets=lambda: [
            pool.name for pool in pipeline.pools if pool.is_paused or pool.is_full
        ],
        is_database_up=lambda: health.is_up,
        clock=clock,
        emit=emit,
    )


class DaemonListener:
    """Passes on what the cluster reports: the `daemon.cluster.store.ClusterListener`.

    Args:
        scheduler: woken when the clocks were measured anew.
        inbox: reloaded when this node's shards change.
        pipeline: drops what belongs to another node, and goes on once the lease holds again.
        brake_watch: obeys freezes.
        node_rescuer: takes over from lost nodes.
        name_log: puts the node's new id into every log line.
    """

    def __init__(
        self,
        scheduler: TimerScheduler,
        inbox: TimerInbox,
        pipeline: Pipeline,
        brake_watch: BrakeWatch,
        node_rescuer: NodeRescuer,
        name_log: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._inbox = inbox
        self._pipeline = pipeline
        self._brake_watch = brake_watch
        self._node_rescuer = node_rescuer
        self._name_log = name_log

    def on_registered(self) -> None:
        """Drop the runs of a former identity, and log under the new one."""
        self._pipeline.abandon()
        self._name_log()

    def on_shards_changed(self) -> None:
        """Load the events of the new shards."""
        self._inbox.reload()

    def on_clock_adjusted(self) -> None:
        """Wake up at instants of the adjusted clock."""
        self._scheduler.wake()

    def on_lease_renewed(self) -> None:
        """Let claimed attempts start again."""
        self._pipeline.resume()

    def on_brakes_seen(self, changed_at: datetime | None) -> None:
        """Obey a freeze, also while the timer is busy."""
        self._brake_watch.notice(changed_at)

    def on_nodes_lost(self, nodes: Sequence[str]) -> None:
        """Reclaim the runs of lost nodes."""
        self._node_rescuer.enqueue_lost_nodes(nodes)


def _retention_from(settings: Settings) -> Retention:
    """Return for how long rows are kept; 0 days mean without a limit."""
    days = settings.history.keep_days, settings.history.audit_days
    return Retention(*(timedelta(days=each) if each else None for each in days))
