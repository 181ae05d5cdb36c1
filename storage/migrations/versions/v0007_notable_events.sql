-- Schema version 0007, frozen: later changes are later versions.
-- An ordinary run writes two events, its start and its end, and neither is in the index.
CREATE INDEX campaign_events_notable_idx ON campaign_events (id)
    WHERE event NOT IN ('fire', 'run_ended') OR cause NOT IN ('due', 'completed');
