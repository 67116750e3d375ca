-- While a freeze stands, no grant of what it covers is opened: '*' is every target.
CREATE TABLE freezes (
    id          TEXT    CONSTRAINT freezes_id_given NOT NULL
                        CONSTRAINT freezes_key PRIMARY KEY,
    extent      TEXT    CONSTRAINT freezes_extent_given NOT NULL,
    by_subject  TEXT    CONSTRAINT freezes_by_subject_given NOT NULL,
    by_name     TEXT    CONSTRAINT freezes_by_name_given NOT NULL,
    reason      TEXT    CONSTRAINT freezes_reason_given NOT NULL,
    frozen_at   INTEGER CONSTRAINT freezes_frozen_at_given NOT NULL,
    ends_grants INTEGER CONSTRAINT freezes_ends_grants_given NOT NULL,
    thawed_at   INTEGER,
    revision    INTEGER CONSTRAINT freezes_revision_given NOT NULL,

    CONSTRAINT freezes_id_ulid CHECK (length(id) = 26 AND id NOT GLOB '*[^0-9a-z]*'),
    CONSTRAINT freezes_extent_bounded CHECK (length(extent) BETWEEN 1 AND 63),
    CONSTRAINT freezes_reason_bounded CHECK (length(CAST(reason AS BLOB)) BETWEEN 1 AND 8192),
    CONSTRAINT freezes_ends_grants_flag CHECK (ends_grants IN (0, 1)),
    CONSTRAINT freezes_revision_positive CHECK (revision >= 1)
) STRICT;

CREATE UNIQUE INDEX freezes_one_standing ON freezes (extent) WHERE thawed_at IS NULL;

CREATE TRIGGER freezes_move BEFORE UPDATE ON freezes
WHEN OLD.thawed_at IS NOT NULL OR NEW.revision <> OLD.revision + 1 OR NEW.ends_grants < OLD.ends_grants
BEGIN SELECT RAISE(ABORT, 'freezes_move: the freeze can not move so'); END;

CREATE TRIGGER freezes_terms_never_change BEFORE UPDATE OF id, extent, frozen_at ON freezes
BEGIN SELECT RAISE(ABORT, 'freezes_terms_never_change: a freeze is what it was begun as'); END;

CREATE TRIGGER freezes_never_go BEFORE DELETE ON freezes
BEGIN SELECT RAISE(ABORT, 'freezes_never_go: past freezes stay'); END;

-- Whoever opens a grant has looked; this is for those who looked just before.
CREATE TRIGGER grants_not_while_frozen BEFORE INSERT ON grants
WHEN EXISTS (SELECT 1 FROM freezes WHERE thawed_at IS NULL AND extent IN ('*', NEW.target))
BEGIN SELECT RAISE(ABORT, 'grants_not_while_frozen: the target is frozen'); END;
