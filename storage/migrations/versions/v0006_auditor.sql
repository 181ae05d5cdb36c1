-- Schema version 0006, frozen: later changes are later versions.
ALTER TABLE schedule_definitions ADD COLUMN armed_from TIMESTAMP WITH TIME ZONE;

CREATE TABLE audit_findings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    campaign_id BIGINT NOT NULL,
    run_id UUID,
    scheduled_for TIMESTAMP WITH TIME ZONE,
    details JSONB,
    found_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    cleared_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT audit_findings_pkey PRIMARY KEY (id),
    CONSTRAINT audit_findings_severity_check CHECK (severity IN ('error', 'notice'))
);

CREATE UNIQUE INDEX audit_findings_open_idx ON audit_findings
    (campaign_id, kind, coalesce(scheduled_for, '-infinity'::timestamptz)) WHERE cleared_at IS NULL;

CREATE INDEX audit_findings_found_at_idx ON audit_findings (found_at);
