-- The grants that the daemon has to end, page by page: each index ends with the id, so that a page needs no sorting and
-- reads no more rows than it has.

DROP INDEX grants_closing;
CREATE INDEX grants_closing ON grants (closes_at, id) WHERE state IN ('ISSUING', 'ACTIVE');
CREATE INDEX grants_open ON grants (id) WHERE state IN ('ISSUING', 'ACTIVE');
CREATE INDEX grants_longest_revoking ON grants (begun_at, id) WHERE state = 'REVOKING';
