-- The daemons that share this database, and what each of them is at. Times are the server's own, in milliseconds since 1970.

CREATE TABLE daemons (
    id             TEXT COLLATE "C" CONSTRAINT daemons_id_given NOT NULL
                                    CONSTRAINT daemons_key PRIMARY KEY,
    name           TEXT COLLATE "C" CONSTRAINT daemons_name_given NOT NULL,
    version        TEXT COLLATE "C" CONSTRAINT daemons_version_given NOT NULL,
    started_at     BIGINT           CONSTRAINT daemons_started_at_given NOT NULL,
    seen_at        BIGINT           CONSTRAINT daemons_seen_at_given NOT NULL,
    -- What it is at is its own until then. Whoever comes later than that may take it.
    until          BIGINT           CONSTRAINT daemons_until_given NOT NULL,
    clock_ahead_ms BIGINT           CONSTRAINT daemons_clock_ahead_given NOT NULL
);

-- What one daemon does at a time. A generation is never given twice, so that whoever was stopped and comes back doesn't take
-- his own former turn for one that he still has.
CREATE SEQUENCE duty_generations;
CREATE TABLE duties (
    name       TEXT COLLATE "C" CONSTRAINT duties_name_given NOT NULL
                                CONSTRAINT duties_key PRIMARY KEY,
    daemon     TEXT COLLATE "C" CONSTRAINT duties_daemon_given NOT NULL
                                CONSTRAINT duties_daemon REFERENCES daemons (id),
    generation BIGINT           CONSTRAINT duties_generation_given NOT NULL,
    taken_at   BIGINT           CONSTRAINT duties_taken_at_given NOT NULL
);
CREATE INDEX duties_by_daemon ON duties (daemon);

-- A hint to the others that the log has grown, which comes with the commit.
CREATE FUNCTION audit_events_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hallpass_log', '');
    RETURN NULL;
END $$;
CREATE TRIGGER audit_events_told AFTER INSERT ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION audit_events_told();

-- The least migration that a daemon must know to use these tables as they are. A migration that only adds something leaves it
-- alone, so that daemons of the version before go on beside the new ones; one that takes something away raises it, a version
-- later.
CREATE TABLE schema_needs (
    migration BIGINT CONSTRAINT schema_needs_migration_given NOT NULL
);
INSERT INTO schema_needs (migration) VALUES (11);
