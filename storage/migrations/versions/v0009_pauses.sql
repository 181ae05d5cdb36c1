-- Schema version 0009, frozen: later changes are later versions.
ALTER TABLE campaigns ADD COLUMN paused_until TIMESTAMP WITH TIME ZONE;

CREATE INDEX campaigns_paused_until_idx ON campaigns (paused_until) WHERE paused_until IS NOT NULL;
