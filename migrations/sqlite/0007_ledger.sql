-- The audit log becomes the leaves of a Merkle tree. A row is its leaf: what it says stands there once, and the other
-- columns are read from it. What people wrote isn't in the leaf, which has the digests; it stands beside it, and may go.
--
-- The events of before are made leaves in the same order when the database is opened the next time (adopt.rs), since
-- SQL knows no SHA-256.

DROP TRIGGER audit_events_append;
DROP TRIGGER audit_events_never_change;
DROP TRIGGER audit_events_never_go;
DROP INDEX audit_events_by_request;
ALTER TABLE audit_events RENAME TO audit_events_without_tree;

CREATE TABLE audit_events (
    sequence   INTEGER CONSTRAINT audit_events_key PRIMARY KEY,
    leaf       TEXT    CONSTRAINT audit_events_leaf_given NOT NULL,
    -- Of the complete subtrees that end with this leaf, the smallest first: 32 bytes each.
    hashes     BLOB    CONSTRAINT audit_events_hashes_given NOT NULL,
    texts      TEXT,
    kind       TEXT    GENERATED ALWAYS AS (leaf ->> '$.kind') VIRTUAL,
    request_id TEXT    GENERATED ALWAYS AS (leaf ->> '$.request') VIRTUAL,

    CONSTRAINT audit_events_sequence_positive CHECK (sequence >= 1),
    CONSTRAINT audit_events_leaf_json CHECK (json_valid(leaf) AND json_type(leaf) = 'object'),
    CONSTRAINT audit_events_leaf_numbered CHECK ((leaf ->> '$.sequence') IS sequence),
    CONSTRAINT audit_events_hashes_whole CHECK (length(hashes) >= 32 AND length(hashes) % 32 = 0),
    CONSTRAINT audit_events_texts_object
        CHECK (texts IS NULL OR (json_valid(texts) AND json_type(texts) = 'object'))
) STRICT;

CREATE INDEX audit_events_by_request ON audit_events (request_id, sequence) WHERE request_id IS NOT NULL;

-- The log only grows, at its end, by one. Without gaps, a missing event shows.
CREATE TRIGGER audit_events_append BEFORE INSERT ON audit_events
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM audit_events)
BEGIN SELECT RAISE(ABORT, 'audit_events_append: the next event takes the next place'); END;

CREATE TRIGGER audit_events_never_change BEFORE UPDATE OF sequence, leaf, hashes ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events_never_change: the audit log only grows'); END;

CREATE TRIGGER audit_events_texts_only_go BEFORE UPDATE OF texts ON audit_events
WHEN NEW.texts IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'audit_events_texts_only_go: what was written never becomes something else'); END;

CREATE TRIGGER audit_events_never_go BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events_never_go: the audit log only grows'); END;

-- Signed statements of the log's size and root, without what witnesses said of them.
CREATE TABLE checkpoints (
    size      INTEGER CONSTRAINT checkpoints_key PRIMARY KEY,
    root      BLOB    CONSTRAINT checkpoints_root_given NOT NULL,
    note      TEXT    CONSTRAINT checkpoints_note_given NOT NULL,
    signed_at INTEGER CONSTRAINT checkpoints_signed_at_given NOT NULL,

    CONSTRAINT checkpoints_size_positive CHECK (size >= 1),
    CONSTRAINT checkpoints_root_sha256 CHECK (length(root) = 32)
) STRICT;

CREATE TRIGGER checkpoints_append BEFORE INSERT ON checkpoints
WHEN NEW.size <= (SELECT coalesce(max(size), 0) FROM checkpoints)
  OR NEW.size > (SELECT coalesce(max(sequence), 0) FROM audit_events)
BEGIN SELECT RAISE(ABORT, 'checkpoints_append: a checkpoint is of more than the one before, and of what there is'); END;

CREATE TRIGGER checkpoints_never_change BEFORE UPDATE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints_never_change: what was signed stays'); END;

CREATE TRIGGER checkpoints_never_go BEFORE DELETE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints_never_go: what was signed stays'); END;

-- What witnesses signed of a checkpoint: of each the latest.
CREATE TABLE cosignatures (
    size        INTEGER CONSTRAINT cosignatures_size_given NOT NULL
                        CONSTRAINT cosignatures_checkpoint REFERENCES checkpoints (size),
    witness     TEXT    CONSTRAINT cosignatures_witness_given NOT NULL,
    line        TEXT    CONSTRAINT cosignatures_line_given NOT NULL,
    cosigned_at INTEGER CONSTRAINT cosignatures_cosigned_at_given NOT NULL,

    CONSTRAINT cosignatures_key PRIMARY KEY (size, witness)
) STRICT;

CREATE INDEX cosignatures_latest ON cosignatures (cosigned_at);

CREATE TRIGGER cosignatures_only_later BEFORE UPDATE ON cosignatures
WHEN NEW.size <> OLD.size OR NEW.witness <> OLD.witness OR NEW.cosigned_at < OLD.cosigned_at
BEGIN SELECT RAISE(ABORT, 'cosignatures_only_later: a later cosignature takes the place of an earlier one'); END;

CREATE TRIGGER cosignatures_never_go BEFORE DELETE ON cosignatures
BEGIN SELECT RAISE(ABORT, 'cosignatures_never_go: what was signed stays'); END;
