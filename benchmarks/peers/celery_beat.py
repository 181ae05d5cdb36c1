"""Celery beat on sqlalchemy-celery-beat: clocked tasks that run once, inside the same worker."""

from __future__ import annotations

from celery_eta import DATABASE, app, noop, run
from drive import DUE, copy_job
from sqlalchemy_celery_beat.models import ClockedSchedule, PeriodicTask
from sqlalchemy_celery_beat.session import SessionManager

app.conf.update(
    beat_scheduler="sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
    beat_dburi=DATABASE,
    beat_max_loop_interval=1,
)


def store() -> None:
    """Store one task, and copies of its row."""
    with SessionManager().session_factory(DATABASE) as session:
        clocked = ClockedSchedule(clocked_time=DUE)
        session.add(clocked)
        session.flush()
        session.add(PeriodicTask(name="1", task=noop.name, schedule_model=clocked, one_off=True))
        session.commit()
    copy_job("celery_periodictask", name="n::text")


if __name__ == "__main__":
    run(store, "-B")
