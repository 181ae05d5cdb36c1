-- Schema version 0010, frozen: later changes are later versions.
ALTER TABLE api_keys DROP CONSTRAINT api_keys_scope_check;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_scope_check CHECK
    (scope IN ('read', 'write', 'admin', 'worker', 'feed'));
