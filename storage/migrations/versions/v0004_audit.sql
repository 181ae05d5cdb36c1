-- Schema version 0004, frozen: later changes are later versions.
CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT NOT NULL,
    command TEXT,
    address TEXT,
    action TEXT NOT NULL,
    object TEXT,
    object_id TEXT,
    object_name TEXT,
    outcome TEXT NOT NULL,
    request_id TEXT,
    note TEXT,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_outcome_check CHECK (outcome IN ('done', 'refused', 'failed'))
);

CREATE INDEX audit_log_at_idx ON audit_log (at);

CREATE TABLE sessions (
    digest BYTEA NOT NULL,
    api_key_id BIGINT NOT NULL,
    key_digest BYTEA NOT NULL,
    address TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (digest),
    CONSTRAINT sessions_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE
);

CREATE INDEX sessions_used_at_idx ON sessions (used_at);

ALTER TABLE api_keys ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE api_keys ADD COLUMN last_used_from TEXT;

ALTER TABLE api_keys ADD COLUMN previous_digest BYTEA;

ALTER TABLE api_keys ADD COLUMN previous_until TIMESTAMP WITH TIME ZONE;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_previous_digest_key UNIQUE (previous_digest);

ALTER TABLE api_keys ADD CONSTRAINT api_keys_previous_digest_check CHECK
    (octet_length(previous_digest) = 32 AND (previous_digest IS NULL) = (previous_until IS NULL));

ALTER TABLE api_keys DROP CONSTRAINT api_keys_scope_check;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_scope_check CHECK
    (scope IN ('read', 'write', 'admin', 'worker'));
