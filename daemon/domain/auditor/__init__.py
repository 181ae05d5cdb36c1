"""The auditor's judgement: what the rows of a campaign prove, and what contradicts its schedule.

The auditor checks the scheduler itself. The audit log (`daemon.domain.audit`) is another part: it
records who changed what.
"""
