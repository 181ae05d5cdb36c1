"""The auditor's errors about a database, as `campaignd audit` finds them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from daemon.domain.auditor.finding import Severity
from daemon.maintenance.examination import Examined, Examiner
from storage.auditor_reads import CAMPAIGNS_AT_ONCE, AuditorReads
from storage.engine import Database

WINDOW = timedelta(days=1)


def audit_errors(url: str) -> list[str]:
    """Return every error, looked at twice without a pause: the database is quiet."""

    async def look_at_all() -> list[str]:
        database = Database(url, pool_size=1)
        examiner = Examiner(AuditorReads(database), lambda _seconds: asyncio.sleep(0))
        seen, after = Examined(), 0
        try:
            while True:
                part = await examiner.look(WINDOW, after=after, derive_each=1)
                seen.add(part)
                if len(part.campaign_ids) < CAMPAIGNS_AT_ONCE:
                    break
                after = part.campaign_ids[-1]
            found = await examiner.confirm(seen, WINDOW, derive_each=1)
        finally:
            await database.close()
        return [str(each) for each in found if each.severity is Severity.ERROR]

    return asyncio.run(look_at_all())
