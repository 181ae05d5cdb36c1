-- Whether any run has a lease of its own; most polls find none.
SELECT EXISTS (SELECT 1 FROM runs r WHERE r.lease_until IS NOT NULL) AS found
