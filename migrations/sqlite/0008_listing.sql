-- What exceptions are listed by. Each way of narrowing a list gives the ids of requests in their order, so that a page
-- reads little more than it shows, however long the history is.

-- The groups that made the requester one, as a JSON list of texts; empty for what was submitted before they were recorded.
ALTER TABLE requests ADD COLUMN groups TEXT NOT NULL DEFAULT '[]'
    CONSTRAINT requests_groups_list CHECK (json_valid(groups) AND json_type(groups) = 'array');

DROP TRIGGER requests_ask_never_changes;
CREATE TRIGGER requests_ask_never_changes BEFORE UPDATE OF id, target, credential_path, requester_subject,
    requester_name, duration_seconds, reason, ticket, approvals_required, submitted_at, idempotency_key, not_before, groups
    ON requests
BEGIN SELECT RAISE(ABORT, 'requests_ask_never_changes: decisions are bound to what was asked'); END;

-- An index over the lists in `requests.groups`, kept by the trigger below.
CREATE TABLE request_groups (
    name       TEXT CONSTRAINT request_groups_name_given NOT NULL,
    request_id TEXT CONSTRAINT request_groups_request_given NOT NULL
                    CONSTRAINT request_groups_request REFERENCES requests (id),

    CONSTRAINT request_groups_key PRIMARY KEY (name, request_id)
) STRICT, WITHOUT ROWID;

-- Indexes of texts by their trigrams, which hold no text. A row has the place of its request in the order of submission:
-- its rowid, which stays what it is because no request ever goes. What is erased of a text has to be taken out here with
-- the 'delete' command and the former text; secure-delete leaves nothing of it in the pages then.
CREATE VIRTUAL TABLE reason_index USING fts5 (reason, content = '', tokenize = 'trigram');
CREATE VIRTUAL TABLE statement_index USING fts5 (statements, content = '', tokenize = 'trigram');
INSERT INTO reason_index (reason_index, rank) VALUES ('secure-delete', 1);
INSERT INTO statement_index (statement_index, rank) VALUES ('secure-delete', 1);

INSERT INTO reason_index (rowid, reason) SELECT rowid, reason FROM requests ORDER BY rowid;
INSERT INTO statement_index (rowid, statements)
SELECT r.rowid, group_concat(d.statement, char(31) ORDER BY d.position)
  FROM requests r JOIN decisions d ON d.request_id = r.id GROUP BY r.rowid ORDER BY r.rowid;

CREATE TRIGGER requests_indexed AFTER INSERT ON requests
BEGIN
    INSERT INTO request_groups (name, request_id) SELECT DISTINCT value, NEW.id FROM json_each(NEW.groups);
    INSERT INTO reason_index (rowid, reason) VALUES (NEW.rowid, NEW.reason);
END;

-- Statements of one request are one text; what stands between them can't be in a statement, so nothing matches across.
CREATE TRIGGER decisions_indexed AFTER INSERT ON decisions
BEGIN
    INSERT INTO statement_index (statement_index, rowid, statements)
    SELECT 'delete', r.rowid, group_concat(d.statement, char(31) ORDER BY d.position)
      FROM requests r JOIN decisions d ON d.request_id = r.id AND d.position < NEW.position
     WHERE r.id = NEW.request_id GROUP BY r.rowid;
    INSERT INTO statement_index (rowid, statements)
    SELECT r.rowid, group_concat(d.statement, char(31) ORDER BY d.position)
      FROM requests r JOIN decisions d ON d.request_id = r.id
     WHERE r.id = NEW.request_id GROUP BY r.rowid;
END;

CREATE INDEX requests_by_requester_name ON requests (requester_name, id);
CREATE INDEX requests_by_ticket ON requests (ticket, id) WHERE ticket IS NOT NULL;
CREATE INDEX decisions_by_approver ON decisions (approver_subject, request_id);
CREATE INDEX decisions_by_approver_name ON decisions (approver_name, request_id);
CREATE INDEX decisions_signed ON decisions (request_id) WHERE signature IS NOT NULL;
CREATE INDEX decisions_unsigned ON decisions (request_id) WHERE signature IS NULL AND verdict = 'APPROVED';
CREATE INDEX grants_of_holder ON grants (holder_subject, request_id);
CREATE INDEX grants_of_holder_name ON grants (holder_name, request_id);
CREATE INDEX grants_in_state ON grants (state, request_id);
CREATE INDEX grants_by_cause ON grants (cause, request_id) WHERE cause IS NOT NULL;
-- A minute, because the confirmation of an end in time takes a moment, too.
CREATE INDEX grants_late ON grants (request_id) WHERE revoked_at - closes_at >= 60000;
CREATE INDEX grants_early ON grants (request_id) WHERE closes_at - revoked_at >= 60000;
CREATE INDEX audit_events_alarms ON audit_events (request_id) WHERE kind IN ('RevocationOverdue', 'WrappingTokenOpened');
