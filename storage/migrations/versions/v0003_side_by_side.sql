-- Schema version 0003, frozen: later changes are later versions.
CREATE TABLE schema_versions (
    version TEXT NOT NULL,
    compatible_since TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT schema_versions_pkey PRIMARY KEY (version)
);

ALTER TABLE runs ADD COLUMN rare_status TEXT GENERATED ALWAYS AS
    (CASE WHEN status NOT IN ('executing', 'completed') THEN status END) STORED;

CREATE INDEX runs_rare_status_idx ON runs (rare_status, claimed_at, campaign_id, scheduled_for)
    WHERE rare_status IS NOT NULL;

ALTER TABLE nodes ADD COLUMN schema_version TEXT;
