-- Whether any run at all is out to be finished later; most looks find none.
SELECT EXISTS (SELECT 1 FROM runs r WHERE r.lease_until IS NOT NULL) AS found
