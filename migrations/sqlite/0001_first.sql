-- Requests with the decisions on them, grants, the audit log, and the daemon's own settings.
--
-- Instants (`_at`) are milliseconds since 1970-01-01 UTC. The CHECKs say of every state which columns it has, as the
-- enums in src/access do; a row that they let through is a row that src/store can read. They never compare two instants
-- of the system's clock with each other: a clock that was set back must not keep a revocation from being recorded.

CREATE TABLE requests (
    id                 TEXT    CONSTRAINT requests_id_given NOT NULL
                               CONSTRAINT requests_key PRIMARY KEY,
    target             TEXT    CONSTRAINT requests_target_given NOT NULL,
    credential_path    TEXT    CONSTRAINT requests_credential_path_given NOT NULL,
    requester_subject  TEXT    CONSTRAINT requests_requester_subject_given NOT NULL,
    requester_name     TEXT    CONSTRAINT requests_requester_name_given NOT NULL,
    duration_seconds   INTEGER CONSTRAINT requests_duration_given NOT NULL,
    reason             TEXT    CONSTRAINT requests_reason_given NOT NULL,
    ticket             TEXT,
    approvals_required INTEGER CONSTRAINT requests_approvals_required_given NOT NULL,
    submitted_at       INTEGER CONSTRAINT requests_submitted_at_given NOT NULL,
    idempotency_key    TEXT,
    state              TEXT    CONSTRAINT requests_state_given NOT NULL,
    revision           INTEGER CONSTRAINT requests_revision_given NOT NULL,
    lapses_at          INTEGER,
    approved_at        INTEGER,
    withdrawn_at       INTEGER,
    lapsed_at          INTEGER,
    claimed_at         INTEGER,

    CONSTRAINT requests_submission_once UNIQUE (requester_subject, idempotency_key),
    CONSTRAINT requests_id_ulid CHECK (length(id) = 26 AND id NOT GLOB '*[^0-9a-z]*'),
    CONSTRAINT requests_target_named CHECK (length(target) BETWEEN 1 AND 63),
    CONSTRAINT requests_duration_positive CHECK (duration_seconds > 0),
    CONSTRAINT requests_reason_bounded CHECK (length(CAST(reason AS BLOB)) BETWEEN 1 AND 8192),
    CONSTRAINT requests_ticket_bounded CHECK (ticket IS NULL OR length(CAST(ticket AS BLOB)) BETWEEN 1 AND 256),
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
) STRICT;

-- A slice of a list is in the order of the ids, so each way of narrowing a list ends with the id.
CREATE INDEX requests_by_requester ON requests (requester_subject, id);
CREATE INDEX requests_by_target ON requests (target, id);
CREATE INDEX requests_by_state ON requests (state, id);
CREATE INDEX requests_lapsing ON requests (lapses_at) WHERE lapses_at IS NOT NULL;

-- One person may approve and, before the others have, think better of it and deny; he can't do either twice.
CREATE TABLE decisions (
    request_id       TEXT    CONSTRAINT decisions_request_given NOT NULL
                             CONSTRAINT decisions_request REFERENCES requests (id),
    position         INTEGER CONSTRAINT decisions_position_given NOT NULL,
    verdict          TEXT    CONSTRAINT decisions_verdict_given NOT NULL,
    approver_subject TEXT    CONSTRAINT decisions_approver_subject_given NOT NULL,
    approver_name    TEXT    CONSTRAINT decisions_approver_name_given NOT NULL,
    statement        TEXT    CONSTRAINT decisions_statement_given NOT NULL,
    digest           TEXT    CONSTRAINT decisions_digest_given NOT NULL,
    decided_at       INTEGER CONSTRAINT decisions_decided_at_given NOT NULL,

    CONSTRAINT decisions_key PRIMARY KEY (request_id, position),
    CONSTRAINT decisions_person_once UNIQUE (request_id, verdict, approver_subject),
    CONSTRAINT decisions_position_positive CHECK (position >= 1),
    CONSTRAINT decisions_verdict_known CHECK (verdict IN ('APPROVED', 'DENIED')),
    CONSTRAINT decisions_statement_bounded CHECK (length(CAST(statement AS BLOB)) BETWEEN 1 AND 8192),
    CONSTRAINT decisions_digest_sha256 CHECK (length(digest) = 71 AND digest GLOB 'sha256:*')
) STRICT;

CREATE TABLE grants (
    id                TEXT    CONSTRAINT grants_id_given NOT NULL
                              CONSTRAINT grants_key PRIMARY KEY,
    request_id        TEXT    CONSTRAINT grants_request_given NOT NULL
                              CONSTRAINT grants_request REFERENCES requests (id),
    target            TEXT    CONSTRAINT grants_target_given NOT NULL,
    credential_path   TEXT    CONSTRAINT grants_credential_path_given NOT NULL,
    holder_subject    TEXT    CONSTRAINT grants_holder_subject_given NOT NULL,
    holder_name       TEXT    CONSTRAINT grants_holder_name_given NOT NULL,
    opens_at          INTEGER CONSTRAINT grants_opens_at_given NOT NULL,
    closes_at         INTEGER CONSTRAINT grants_closes_at_given NOT NULL,
    opened_at         INTEGER CONSTRAINT grants_opened_at_given NOT NULL,
    state             TEXT    CONSTRAINT grants_state_given NOT NULL,
    revision          INTEGER CONSTRAINT grants_revision_given NOT NULL,
    -- Vault's handles. No other table and no event has them, and a grant that is over has none.
    token_accessor    TEXT,
    wrapping_accessor TEXT,
    lease_id          TEXT,
    activated_at      INTEGER,
    cause             TEXT,
    begun_at          INTEGER,
    step              TEXT,
    error             TEXT,
    revoked_at        INTEGER,
    failed_at         INTEGER,

    CONSTRAINT grants_id_ulid CHECK (length(id) = 26 AND id NOT GLOB '*[^0-9a-z]*'),
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
                          ELSE 1 END),
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
) STRICT;

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

-- No foreign keys: the log takes what happened, whatever it speaks of.
CREATE TABLE audit_events (
    sequence      INTEGER CONSTRAINT audit_events_key PRIMARY KEY,
    recorded_at   INTEGER CONSTRAINT audit_events_recorded_at_given NOT NULL,
    actor_kind    TEXT    CONSTRAINT audit_events_actor_kind_given NOT NULL,
    actor_subject TEXT,
    actor_name    TEXT,
    kind          TEXT    CONSTRAINT audit_events_kind_given NOT NULL,
    request_id    TEXT,
    grant_id      TEXT,
    target        TEXT,
    detail        TEXT    CONSTRAINT audit_events_detail_given NOT NULL,

    CONSTRAINT audit_events_sequence_positive CHECK (sequence >= 1),
    CONSTRAINT audit_events_actor_known CHECK (actor_kind IN ('PERSON', 'DAEMON')),
    CONSTRAINT audit_events_actor_by_kind
        CHECK ((actor_subject IS NOT NULL) = (actor_kind = 'PERSON')
               AND (actor_name IS NOT NULL) = (actor_kind = 'PERSON')),
    CONSTRAINT audit_events_kind_named CHECK (length(kind) BETWEEN 1 AND 64),
    CONSTRAINT audit_events_detail_json CHECK (json_valid(detail))
) STRICT;

CREATE INDEX audit_events_by_request ON audit_events (request_id, sequence) WHERE request_id IS NOT NULL;

-- What the daemon made for itself and must find again. Values are secrets.
CREATE TABLE settings (
    name  TEXT CONSTRAINT settings_name_given NOT NULL
               CONSTRAINT settings_key PRIMARY KEY,
    value BLOB CONSTRAINT settings_value_given NOT NULL,

    CONSTRAINT settings_digest_key_whole CHECK (name <> 'digest_key' OR length(value) = 32)
) STRICT;

-- The log only grows, at its end, by one. Without gaps, a missing event shows.
CREATE TRIGGER audit_events_append BEFORE INSERT ON audit_events
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM audit_events)
BEGIN SELECT RAISE(ABORT, 'audit_events_append: the next event takes the next place'); END;

CREATE TRIGGER audit_events_never_change BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events_never_change: the audit log only grows'); END;

CREATE TRIGGER audit_events_never_go BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events_never_go: the audit log only grows'); END;

-- Decisions are evidence. They come one after the other, on requests that wait for them.
CREATE TRIGGER decisions_append BEFORE INSERT ON decisions
WHEN NEW.position IS NOT (SELECT count(*) + 1 FROM decisions WHERE request_id = NEW.request_id)
  OR (SELECT state FROM requests WHERE id = NEW.request_id) IS NOT 'PENDING'
BEGIN SELECT RAISE(ABORT, 'decisions_append: the request takes no such decision'); END;

CREATE TRIGGER decisions_never_change BEFORE UPDATE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions_never_change: decisions are evidence'); END;

CREATE TRIGGER decisions_never_go BEFORE DELETE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions_never_go: decisions are evidence'); END;

CREATE TRIGGER requests_never_go BEFORE DELETE ON requests
BEGIN SELECT RAISE(ABORT, 'requests_never_go: past requests stay'); END;

-- What was asked is what was approved.
CREATE TRIGGER requests_ask_never_changes BEFORE UPDATE OF id, target, credential_path, requester_subject,
    requester_name, duration_seconds, reason, ticket, approvals_required, submitted_at, idempotency_key ON requests
BEGIN SELECT RAISE(ABORT, 'requests_ask_never_changes: decisions are bound to what was asked'); END;

CREATE TRIGGER requests_begin_pending BEFORE INSERT ON requests
WHEN NEW.state <> 'PENDING' OR NEW.revision <> 1
BEGIN SELECT RAISE(ABORT, 'requests_begin_pending: a request begins as PENDING'); END;

CREATE TRIGGER requests_move BEFORE UPDATE ON requests
WHEN NEW.revision <> OLD.revision + 1
  OR NOT (CASE OLD.state WHEN 'PENDING' THEN NEW.state <> 'CLAIMED'
                         WHEN 'APPROVED' THEN NEW.state IN ('CLAIMED', 'WITHDRAWN', 'LAPSED')
                         ELSE 0 END)
BEGIN SELECT RAISE(ABORT, 'requests_move: the request can not move so'); END;

CREATE TRIGGER requests_approved_by_enough BEFORE UPDATE ON requests
WHEN NEW.state = 'APPROVED'
 AND NEW.approvals_required > (SELECT count(*) FROM decisions WHERE request_id = NEW.id AND verdict = 'APPROVED')
BEGIN SELECT RAISE(ABORT, 'requests_approved_by_enough: approvals are missing'); END;

CREATE TRIGGER requests_denied_in_writing BEFORE UPDATE ON requests
WHEN (NEW.state = 'DENIED')
  <> (SELECT count(*) FROM decisions WHERE request_id = NEW.id AND verdict = 'DENIED')
BEGIN SELECT RAISE(ABORT, 'requests_denied_in_writing: a request is DENIED by one denial'); END;

CREATE TRIGGER grants_never_go BEFORE DELETE ON grants
BEGIN SELECT RAISE(ABORT, 'grants_never_go: past grants stay'); END;

-- A running window never moves.
CREATE TRIGGER grants_terms_never_change BEFORE UPDATE OF id, request_id, target, credential_path, holder_subject,
    holder_name, opens_at, closes_at, opened_at ON grants
BEGIN SELECT RAISE(ABORT, 'grants_terms_never_change: a grant is held as it was opened'); END;

-- Intent comes first: when a grant is recorded, nothing is issued.
CREATE TRIGGER grants_begin_issuing BEFORE INSERT ON grants
WHEN NEW.state <> 'ISSUING' OR NEW.token_accessor IS NOT NULL OR NEW.revision <> 1
BEGIN SELECT RAISE(ABORT, 'grants_begin_issuing: a grant begins as ISSUING, without a token'); END;

CREATE TRIGGER grants_move BEFORE UPDATE ON grants
WHEN NEW.revision <> OLD.revision + 1
  OR NOT (CASE OLD.state WHEN 'ISSUING' THEN NEW.state IN ('ISSUING', 'ACTIVE', 'REVOKING')
                         WHEN 'ACTIVE' THEN NEW.state = 'REVOKING'
                         WHEN 'REVOKING' THEN NEW.state IN ('REVOKING', 'REVOKED', 'FAILED')
                         ELSE 0 END)
BEGIN SELECT RAISE(ABORT, 'grants_move: the grant can not move so'); END;

CREATE TRIGGER settings_never_change BEFORE UPDATE ON settings
BEGIN SELECT RAISE(ABORT, 'settings_never_change: events rest on what was set'); END;

CREATE TRIGGER settings_never_go BEFORE DELETE ON settings
BEGIN SELECT RAISE(ABORT, 'settings_never_go: events rest on what was set'); END;
