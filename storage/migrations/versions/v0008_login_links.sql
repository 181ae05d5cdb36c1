-- Schema version 0008, frozen: later changes are later versions.
CREATE TABLE login_links (
    digest BYTEA NOT NULL,
    api_key_id BIGINT NOT NULL,
    key_digest BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT login_links_pkey PRIMARY KEY (digest),
    CONSTRAINT login_links_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE
);
