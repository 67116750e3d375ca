-- How often an ending that takes too long was told of. The time of the next alarm follows from it, so that a restart
-- neither repeats nor forgets one.
ALTER TABLE grants ADD COLUMN alarms BIGINT NOT NULL DEFAULT 0
    CONSTRAINT grants_alarms_by_state CHECK (alarms = 0 OR (alarms > 0 AND state = 'REVOKING'));
