-- Schema version 0011, frozen: later changes are later versions.
CREATE TABLE target_resumes (
    target TEXT NOT NULL,
    resumed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT target_resumes_pkey PRIMARY KEY (target)
);
