-- Requests with the decisions on them, grants, the audit log, and the daemon's own settings.
--
-- This is what migrations/sqlite has under the same names, for PostgreSQL 14 and later. What SQLite changed on its way here is made
-- as it became; texts compare byte by byte, whatever the database was made with.
--
-- Instants (`_at`) are milliseconds since 1970-01-01 UTC. The CHECKs say of every state which columns it has, as the
-- enums in src/access do; a row that they let through is a row that src/store can read. They never compare two instants
-- of the system's clock with each other: a clock that was set back must not keep a revocation from being recorded.

CREATE TABLE requests (
    id                 TEXT COLLATE "C" CONSTRAINT requests_id_given NOT NULL
                               CONSTRAINT requests_key PRIMARY KEY,
    target             TEXT COLLATE "C" CONSTRAINT requests_target_given NOT NULL,
    credential_path    TEXT COLLATE "C" CONSTRAINT requests_credential_path_given NOT NULL,
    requester_subject  TEXT COLLATE "C" CONSTRAINT requests_requester_subject_given NOT NULL,
    requester_name     TEXT COLLATE "C" CONSTRAINT requests_requester_name_given NOT NULL,
    duration_seconds   BIGINT CONSTRAINT requests_duration_given NOT NULL,
    reason             TEXT COLLATE "C" CONSTRAINT requests_reason_given NOT NULL,
    ticket             TEXT COLLATE "C",
    approvals_required BIGINT CONSTRAINT requests_approvals_required_given NOT NULL,
    submitted_at       BIGINT CONSTRAINT requests_submitted_at_given NOT NULL,
    idempotency_key    TEXT COLLATE "C",
    state              TEXT COLLATE "C" CONSTRAINT requests_state_given NOT NULL,
    revision           BIGINT CONSTRAINT requests_revision_given NOT NULL,
    lapses_at          BIGINT,
    approved_at        BIGINT,
    withdrawn_at       BIGINT,
    lapsed_at          BIGINT,
    claimed_at         BIGINT,

    CONSTRAINT requests_submission_once UNIQUE (requester_subject, idempotency_key),
    CONSTRAINT requests_id_ulid CHECK (id ~ '^[0-9a-z]{26}$'),
    CONSTRAINT requests_target_named CHECK (length(target) BETWEEN 1 AND 63),
    CONSTRAINT requests_duration_positive CHECK (duration_seconds > 0),
    CONSTRAINT requests_reason_bounded CHECK (octet_length(reason) BETWEEN 1 AND 8192),
    CONSTRAINT requests_ticket_bounded CHECK (ticket IS NULL OR octet_length(ticket) BETWEEN 1 AND 256),
    CONSTRAINT requests_approvals_required_positive CHECK (approvals_required >= 1),
    CONSTRAINT requests_idempotency_key_bounded
        CHECK (idempotency_key IS NULL OR length(idempotency_key) BETWEEN 1 AND 64),
    CONSTRAINT requests_revision_positive CHECK (revision >= 1),
    CONSTRAINT requests_state_known
        CHECK (state IN ('PENDING', 'APPROVED', 'DENIED', 'WITHDRAWN', 'LAPSED', 'CLAIMED')),
    CONSTRAINT requests_lapses_at_by_state CHECK ((lapses_at IS NOT NULL) = (state IN ('PENDING', 'APPROVED'))),
    CONSTRAINT requests_approved_at_by_state CHECK ((approved_at IS NOT NULL) = (state = 'APPROVED')),
    CONSTRAINT requests_withdrawn_at_by_state CHECK ((withdrawn_at IS NOT NULL) = (state = 'WITHDRAWN')),
    CONSTRAINT requests_lapsed_at_by_state CHECK ((lapsed_at IS NOT NULL) = (state = 'LAPSED')),
    CONSTRAINT requests_claimed_at_by_state CHECK ((claimed_at IS NOT NULL) = (state = 'CLAIMED'))
);

-- A slice of a list is in the order of the ids, so each way of narrowing a list ends with the id.
CREATE INDEX requests_by_requester ON requests (requester_subject, id);
CREATE INDEX requests_by_target ON requests (target, id);
CREATE INDEX requests_by_state ON requests (state, id);
CREATE INDEX requests_lapsing ON requests (lapses_at) WHERE lapses_at IS NOT NULL;

-- One person may approve and, before the others have, think better of it and deny; he can't do either twice.
CREATE TABLE decisions (
    request_id       TEXT COLLATE "C" CONSTRAINT decisions_request_given NOT NULL
                             CONSTRAINT decisions_request REFERENCES requests (id),
    position         BIGINT CONSTRAINT decisions_position_given NOT NULL,
    verdict          TEXT COLLATE "C" CONSTRAINT decisions_verdict_given NOT NULL,
    approver_subject TEXT COLLATE "C" CONSTRAINT decisions_approver_subject_given NOT NULL,
    approver_name    TEXT COLLATE "C" CONSTRAINT decisions_approver_name_given NOT NULL,
    statement        TEXT COLLATE "C" CONSTRAINT decisions_statement_given NOT NULL,
    digest           TEXT COLLATE "C" CONSTRAINT decisions_digest_given NOT NULL,
    decided_at       BIGINT CONSTRAINT decisions_decided_at_given NOT NULL,

    CONSTRAINT decisions_key PRIMARY KEY (request_id, position),
    CONSTRAINT decisions_person_once UNIQUE (request_id, verdict, approver_subject),
    CONSTRAINT decisions_position_positive CHECK (position >= 1),
    CONSTRAINT decisions_verdict_known CHECK (verdict IN ('APPROVED', 'DENIED')),
    CONSTRAINT decisions_statement_bounded CHECK (octet_length(statement) BETWEEN 1 AND 8192),
    CONSTRAINT decisions_digest_sha256 CHECK (length(digest) = 71 AND digest LIKE 'sha256:%')
);

CREATE TABLE grants (
    id                TEXT COLLATE "C" CONSTRAINT grants_id_given NOT NULL
                              CONSTRAINT grants_key PRIMARY KEY,
    request_id        TEXT COLLATE "C" CONSTRAINT grants_request_given NOT NULL
                              CONSTRAINT grants_request REFERENCES requests (id),
    target            TEXT COLLATE "C" CONSTRAINT grants_target_given NOT NULL,
    credential_path   TEXT COLLATE "C" CONSTRAINT grants_credential_path_given NOT NULL,
    holder_subject    TEXT COLLATE "C" CONSTRAINT grants_holder_subject_given NOT NULL,
    holder_name       TEXT COLLATE "C" CONSTRAINT grants_holder_name_given NOT NULL,
    opens_at          BIGINT CONSTRAINT grants_opens_at_given NOT NULL,
    closes_at         BIGINT CONSTRAINT grants_closes_at_given NOT NULL,
    opened_at         BIGINT CONSTRAINT grants_opened_at_given NOT NULL,
    state             TEXT COLLATE "C" CONSTRAINT grants_state_given NOT NULL,
    revision          BIGINT CONSTRAINT grants_revision_given NOT NULL,
    -- Vault's handles. No other table and no event has them, and a grant that is over has none.
    token_accessor    TEXT COLLATE "C",
    wrapping_accessor TEXT COLLATE "C",
    lease_id          TEXT COLLATE "C",
    activated_at      BIGINT,
    cause             TEXT COLLATE "C",
    begun_at          BIGINT,
    step              TEXT COLLATE "C",
    error             TEXT COLLATE "C",
    revoked_at        BIGINT,
    failed_at         BIGINT,

    CONSTRAINT grants_id_ulid CHECK (id ~ '^[0-9a-z]{26}$'),
    CONSTRAINT grants_target_named CHECK (length(target) BETWEEN 1 AND 63),
    CONSTRAINT grants_window_forward CHECK (closes_at > opens_at),
    CONSTRAINT grants_revision_positive CHECK (revision >= 1),
    CONSTRAINT grants_state_known CHECK (state IN ('ISSUING', 'ACTIVE', 'REVOKING', 'REVOKED', 'FAILED')),
    CONSTRAINT grants_cause_known
        CHECK (cause IN ('WINDOW_CLOSED', 'RELEASED', 'REVOKED_BY_OPERATOR', 'FROZEN', 'TARGET_REMOVED',
                         'ENDED_OUTSIDE', 'ISSUE_FAILED', 'REISSUED')),
    CONSTRAINT grants_step_known CHECK (step IN ('WRAPPING', 'TOKEN', 'LEASE', 'CONFIRMATION')),
    CONSTRAINT grants_handles_in_order
        CHECK ((lease_id IS NULL) = (wrapping_accessor IS NULL)
               AND (lease_id IS NULL OR token_accessor IS NOT NULL)),
    CONSTRAINT grants_handles_by_state
        CHECK (CASE state WHEN 'ACTIVE' THEN lease_id IS NOT NULL
                          WHEN 'REVOKED' THEN token_accessor IS NULL
                          WHEN 'FAILED' THEN token_accessor IS NULL
                          ELSE TRUE END),
    CONSTRAINT grants_activated_at_by_state
        CHECK (CASE state WHEN 'ACTIVE' THEN activated_at IS NOT NULL
                          WHEN 'REVOKING' THEN activated_at IS NULL OR lease_id IS NOT NULL
                          WHEN 'REVOKED' THEN activated_at IS NOT NULL
                          ELSE activated_at IS NULL END),
    CONSTRAINT grants_cause_by_state CHECK ((cause IS NOT NULL) = (state IN ('REVOKING', 'REVOKED', 'FAILED'))),
    CONSTRAINT grants_begun_at_by_state
        CHECK ((begun_at IS NOT NULL) = (state IN ('REVOKING', 'REVOKED', 'FAILED'))),
    CONSTRAINT grants_step_by_state CHECK ((step IS NOT NULL) = (state = 'REVOKING')),
    CONSTRAINT grants_error_by_state CHECK (error IS NULL OR state = 'REVOKING'),
    CONSTRAINT grants_revoked_at_by_state CHECK ((revoked_at IS NOT NULL) = (state = 'REVOKED')),
    CONSTRAINT grants_failed_at_by_state CHECK ((failed_at IS NOT NULL) = (state = 'FAILED'))
);

-- Claiming again changes no row of the request, so this is what keeps two claims at once from both opening a grant. The
-- one before has to begin to end first, in the same transaction at the latest.
CREATE UNIQUE INDEX grants_one_held ON grants (request_id) WHERE state IN ('ISSUING', 'ACTIVE');
CREATE INDEX grants_by_request ON grants (request_id, id);
CREATE INDEX grants_by_holder ON grants (holder_subject, id);
CREATE INDEX grants_by_target ON grants (target, id);
CREATE INDEX grants_by_state ON grants (state, id);
CREATE INDEX grants_closing ON grants (closes_at) WHERE state IN ('ISSUING', 'ACTIVE');
CREATE INDEX grants_revoking ON grants (target, begun_at, id) WHERE state = 'REVOKING';
CREATE INDEX grants_leased ON grants (credential_path) WHERE lease_id IS NOT NULL;

-- What the daemon made for itself and must find again. Values are secrets.
CREATE TABLE settings (
    name  TEXT COLLATE "C" CONSTRAINT settings_name_given NOT NULL
               CONSTRAINT settings_key PRIMARY KEY,
    value BYTEA CONSTRAINT settings_value_given NOT NULL,

    CONSTRAINT settings_digest_key_whole CHECK (name <> 'digest_key' OR octet_length(value) = 32)
);

-- What a trigger says when its condition is all that there is to it: its argument.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;

-- Decisions are evidence. They come one after the other, on requests that wait for them.
CREATE FUNCTION decisions_append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.position IS DISTINCT FROM (SELECT count(*) + 1 FROM decisions WHERE request_id = NEW.request_id)
       OR (SELECT state FROM requests WHERE id = NEW.request_id) IS DISTINCT FROM 'PENDING'
    THEN RAISE EXCEPTION 'decisions_append: the request takes no such decision';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decisions_append BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION decisions_append();

CREATE TRIGGER decisions_never_go BEFORE DELETE ON decisions FOR EACH ROW
EXECUTE FUNCTION refuse('decisions_never_go: decisions are evidence');
CREATE TRIGGER decisions_never_go_together BEFORE TRUNCATE ON decisions
EXECUTE FUNCTION refuse('decisions_never_go: decisions are evidence');

CREATE TRIGGER requests_never_go BEFORE DELETE ON requests FOR EACH ROW
EXECUTE FUNCTION refuse('requests_never_go: past requests stay');
CREATE TRIGGER requests_never_go_together BEFORE TRUNCATE ON requests
EXECUTE FUNCTION refuse('requests_never_go: past requests stay');

CREATE TRIGGER requests_begin_pending BEFORE INSERT ON requests FOR EACH ROW
WHEN (NEW.state <> 'PENDING' OR NEW.revision <> 1)
EXECUTE FUNCTION refuse('requests_begin_pending: a request begins as PENDING');

CREATE FUNCTION requests_rest_on_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'APPROVED'
       AND NEW.approvals_required > (SELECT count(*) FROM decisions WHERE request_id = NEW.id AND verdict = 'APPROVED')
    THEN RAISE EXCEPTION 'requests_approved_by_enough: approvals are missing';
    END IF;
    IF (NEW.state = 'DENIED')::int <> (SELECT count(*) FROM decisions WHERE request_id = NEW.id AND verdict = 'DENIED')
    THEN RAISE EXCEPTION 'requests_denied_in_writing: a request is DENIED by one denial';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER requests_rest_on_decisions BEFORE UPDATE ON requests FOR EACH ROW
EXECUTE FUNCTION requests_rest_on_decisions();

CREATE TRIGGER grants_never_go BEFORE DELETE ON grants FOR EACH ROW
EXECUTE FUNCTION refuse('grants_never_go: past grants stay');
CREATE TRIGGER grants_never_go_together BEFORE TRUNCATE ON grants
EXECUTE FUNCTION refuse('grants_never_go: past grants stay');

-- A running window never moves.
CREATE TRIGGER grants_terms_never_change BEFORE UPDATE OF id, request_id, target, credential_path, holder_subject,
    holder_name, opens_at, closes_at, opened_at ON grants FOR EACH ROW
EXECUTE FUNCTION refuse('grants_terms_never_change: a grant is held as it was opened');

-- Intent comes first: when a grant is recorded, nothing is issued.
CREATE TRIGGER grants_begin_issuing BEFORE INSERT ON grants FOR EACH ROW
WHEN (NEW.state <> 'ISSUING' OR NEW.token_accessor IS NOT NULL OR NEW.revision <> 1)
EXECUTE FUNCTION refuse('grants_begin_issuing: a grant begins as ISSUING, without a token');

CREATE TRIGGER grants_move BEFORE UPDATE ON grants FOR EACH ROW
WHEN (NEW.revision <> OLD.revision + 1
      OR NOT (CASE OLD.state WHEN 'ISSUING' THEN NEW.state IN ('ISSUING', 'ACTIVE', 'REVOKING')
                             WHEN 'ACTIVE' THEN NEW.state = 'REVOKING'
                             WHEN 'REVOKING' THEN NEW.state IN ('REVOKING', 'REVOKED', 'FAILED')
                             ELSE FALSE END))
EXECUTE FUNCTION refuse('grants_move: the grant can not move so');

CREATE TRIGGER settings_never_change BEFORE UPDATE ON settings FOR EACH ROW
EXECUTE FUNCTION refuse('settings_never_change: events rest on what was set');
CREATE TRIGGER settings_never_go BEFORE DELETE ON settings FOR EACH ROW
EXECUTE FUNCTION refuse('settings_never_go: events rest on what was set');
CREATE TRIGGER settings_never_go_together BEFORE TRUNCATE ON settings
EXECUTE FUNCTION refuse('settings_never_go: events rest on what was set');
