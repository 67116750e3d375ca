-- The groups that made an approver one, as a JSON list of texts; and what he allowed of what was asked.
ALTER TABLE decisions ADD COLUMN groups TEXT NOT NULL DEFAULT '[]'
    CONSTRAINT decisions_groups_list CHECK (json_valid(groups) AND json_type(groups) = 'array');
ALTER TABLE decisions ADD COLUMN duration_seconds INTEGER
    CONSTRAINT decisions_duration_positive CHECK (duration_seconds IS NULL OR duration_seconds > 0);
ALTER TABLE decisions ADD COLUMN not_before INTEGER;
ALTER TABLE decisions ADD COLUMN not_after INTEGER
    CONSTRAINT decisions_terms_by_verdict
        CHECK (verdict = 'APPROVED' OR coalesce(duration_seconds, not_before, not_after) IS NULL);

-- When the window may open first, if the requester said so: a part of what was asked.
ALTER TABLE requests ADD COLUMN not_before INTEGER;

DROP TRIGGER requests_ask_never_changes;
CREATE TRIGGER requests_ask_never_changes BEFORE UPDATE OF id, target, credential_path, requester_subject,
    requester_name, duration_seconds, reason, ticket, approvals_required, submitted_at, idempotency_key, not_before ON requests
BEGIN SELECT RAISE(ABORT, 'requests_ask_never_changes: decisions are bound to what was asked'); END;
