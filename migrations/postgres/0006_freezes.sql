-- While a freeze stands, no grant of what it covers is opened: '*' is every target.
CREATE TABLE freezes (
    id          TEXT COLLATE "C" CONSTRAINT freezes_id_given NOT NULL
                                 CONSTRAINT freezes_key PRIMARY KEY,
    extent      TEXT COLLATE "C" CONSTRAINT freezes_extent_given NOT NULL,
    by_subject  TEXT COLLATE "C" CONSTRAINT freezes_by_subject_given NOT NULL,
    by_name     TEXT COLLATE "C" CONSTRAINT freezes_by_name_given NOT NULL,
    reason      TEXT COLLATE "C" CONSTRAINT freezes_reason_given NOT NULL,
    frozen_at   BIGINT           CONSTRAINT freezes_frozen_at_given NOT NULL,
    ends_grants BOOLEAN          CONSTRAINT freezes_ends_grants_given NOT NULL,
    thawed_at   BIGINT,
    revision    BIGINT           CONSTRAINT freezes_revision_given NOT NULL,

    CONSTRAINT freezes_id_ulid CHECK (id ~ '^[0-9a-z]{26}$'),
    CONSTRAINT freezes_extent_bounded CHECK (length(extent) BETWEEN 1 AND 63),
    CONSTRAINT freezes_reason_bounded CHECK (octet_length(reason) BETWEEN 1 AND 8192),
    CONSTRAINT freezes_revision_positive CHECK (revision >= 1)
);

CREATE UNIQUE INDEX freezes_one_standing ON freezes (extent) WHERE thawed_at IS NULL;

CREATE TRIGGER freezes_terms_never_change BEFORE UPDATE OF id, extent, frozen_at ON freezes FOR EACH ROW
EXECUTE FUNCTION refuse('freezes_terms_never_change: a freeze is what it was begun as');

CREATE TRIGGER freezes_never_go BEFORE DELETE ON freezes FOR EACH ROW
EXECUTE FUNCTION refuse('freezes_never_go: past freezes stay');
CREATE TRIGGER freezes_never_go_together BEFORE TRUNCATE ON freezes
EXECUTE FUNCTION refuse('freezes_never_go: past freezes stay');

-- Whoever opens a grant has looked; this is for those who looked just before.
CREATE FUNCTION grants_not_while_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM freezes WHERE thawed_at IS NULL AND extent IN ('*', NEW.target))
    THEN RAISE EXCEPTION 'grants_not_while_frozen: the target is frozen';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER grants_not_while_frozen BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION grants_not_while_frozen();
