-- The audit log: the leaves of a Merkle tree. A row is its leaf: what it says stands there once, and the other columns are
-- read from it. What people wrote isn't in the leaf, which has the digests; it stands beside it, and may go. There are no
-- foreign keys: the log takes what happened, whatever it speaks of.
CREATE TABLE audit_events (
    sequence   BIGINT           CONSTRAINT audit_events_key PRIMARY KEY,
    leaf       TEXT COLLATE "C" CONSTRAINT audit_events_leaf_given NOT NULL,
    -- Of the complete subtrees that end with this leaf, the smallest first: 32 bytes each.
    hashes     BYTEA            CONSTRAINT audit_events_hashes_given NOT NULL,
    texts      TEXT COLLATE "C",
    kind       TEXT COLLATE "C" GENERATED ALWAYS AS (leaf::json ->> 'kind') STORED,
    request_id TEXT COLLATE "C" GENERATED ALWAYS AS (leaf::json ->> 'request') STORED,

    CONSTRAINT audit_events_sequence_positive CHECK (sequence >= 1),
    CONSTRAINT audit_events_leaf_json CHECK (json_typeof(leaf::json) = 'object'),
    CONSTRAINT audit_events_leaf_numbered CHECK ((leaf::json ->> 'sequence')::bigint IS NOT DISTINCT FROM sequence),
    CONSTRAINT audit_events_hashes_whole CHECK (octet_length(hashes) >= 32 AND octet_length(hashes) % 32 = 0),
    CONSTRAINT audit_events_texts_object CHECK (texts IS NULL OR json_typeof(texts::json) = 'object')
);

CREATE INDEX audit_events_by_request ON audit_events (request_id, sequence) WHERE request_id IS NOT NULL;

-- The log only grows, at its end, by one. Without gaps, a missing event shows.
CREATE FUNCTION audit_events_append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sequence IS DISTINCT FROM (SELECT coalesce(max(sequence), 0) + 1 FROM audit_events)
    THEN RAISE EXCEPTION 'audit_events_append: the next event takes the next place';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_events_append BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_append();

CREATE TRIGGER audit_events_never_change BEFORE UPDATE OF sequence, leaf, hashes ON audit_events FOR EACH ROW
EXECUTE FUNCTION refuse('audit_events_never_change: the audit log only grows');

CREATE TRIGGER audit_events_texts_only_go BEFORE UPDATE OF texts ON audit_events FOR EACH ROW
WHEN (NEW.texts IS NOT NULL)
EXECUTE FUNCTION refuse('audit_events_texts_only_go: what was written never becomes something else');

CREATE TRIGGER audit_events_never_go BEFORE DELETE ON audit_events FOR EACH ROW
EXECUTE FUNCTION refuse('audit_events_never_go: the audit log only grows');
CREATE TRIGGER audit_events_never_go_together BEFORE TRUNCATE ON audit_events
EXECUTE FUNCTION refuse('audit_events_never_go: the audit log only grows');

-- Signed statements of the log's size and root, without what witnesses said of them.
CREATE TABLE checkpoints (
    size      BIGINT           CONSTRAINT checkpoints_key PRIMARY KEY,
    root      BYTEA            CONSTRAINT checkpoints_root_given NOT NULL,
    note      TEXT COLLATE "C" CONSTRAINT checkpoints_note_given NOT NULL,
    signed_at BIGINT           CONSTRAINT checkpoints_signed_at_given NOT NULL,

    CONSTRAINT checkpoints_size_positive CHECK (size >= 1),
    CONSTRAINT checkpoints_root_sha256 CHECK (octet_length(root) = 32)
);

CREATE FUNCTION checkpoints_append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size <= (SELECT coalesce(max(size), 0) FROM checkpoints)
       OR NEW.size > (SELECT coalesce(max(sequence), 0) FROM audit_events)
    THEN RAISE EXCEPTION 'checkpoints_append: a checkpoint is of more than the one before, and of what there is';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER checkpoints_append BEFORE INSERT ON checkpoints FOR EACH ROW EXECUTE FUNCTION checkpoints_append();

CREATE TRIGGER checkpoints_never_change BEFORE UPDATE ON checkpoints FOR EACH ROW
EXECUTE FUNCTION refuse('checkpoints_never_change: what was signed stays');

CREATE TRIGGER checkpoints_never_go BEFORE DELETE ON checkpoints FOR EACH ROW
EXECUTE FUNCTION refuse('checkpoints_never_go: what was signed stays');
CREATE TRIGGER checkpoints_never_go_together BEFORE TRUNCATE ON checkpoints
EXECUTE FUNCTION refuse('checkpoints_never_go: what was signed stays');

-- What witnesses signed of a checkpoint: of each the latest.
CREATE TABLE cosignatures (
    size        BIGINT           CONSTRAINT cosignatures_size_given NOT NULL
                                 CONSTRAINT cosignatures_checkpoint REFERENCES checkpoints (size),
    witness     TEXT COLLATE "C" CONSTRAINT cosignatures_witness_given NOT NULL,
    line        TEXT COLLATE "C" CONSTRAINT cosignatures_line_given NOT NULL,
    cosigned_at BIGINT           CONSTRAINT cosignatures_cosigned_at_given NOT NULL,

    CONSTRAINT cosignatures_key PRIMARY KEY (size, witness)
);

CREATE INDEX cosignatures_latest ON cosignatures (cosigned_at);

CREATE TRIGGER cosignatures_only_later BEFORE UPDATE ON cosignatures FOR EACH ROW
WHEN (NEW.size <> OLD.size OR NEW.witness <> OLD.witness OR NEW.cosigned_at < OLD.cosigned_at)
EXECUTE FUNCTION refuse('cosignatures_only_later: a later cosignature takes the place of an earlier one');

CREATE TRIGGER cosignatures_never_go BEFORE DELETE ON cosignatures FOR EACH ROW
EXECUTE FUNCTION refuse('cosignatures_never_go: what was signed stays');
CREATE TRIGGER cosignatures_never_go_together BEFORE TRUNCATE ON cosignatures
EXECUTE FUNCTION refuse('cosignatures_never_go: what was signed stays');
