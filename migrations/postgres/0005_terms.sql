-- The groups that made an approver one, as a JSON list of texts; and what he allowed of what was asked.
ALTER TABLE decisions ADD COLUMN groups TEXT COLLATE "C" NOT NULL DEFAULT '[]'
    CONSTRAINT decisions_groups_list CHECK (json_typeof(groups::json) = 'array');
ALTER TABLE decisions ADD COLUMN duration_seconds BIGINT
    CONSTRAINT decisions_duration_positive CHECK (duration_seconds IS NULL OR duration_seconds > 0);
ALTER TABLE decisions ADD COLUMN not_before BIGINT;
ALTER TABLE decisions ADD COLUMN not_after BIGINT
    CONSTRAINT decisions_terms_by_verdict
        CHECK (verdict = 'APPROVED' OR coalesce(duration_seconds, not_before, not_after) IS NULL);

-- When the window may open first, if the requester said so: a part of what was asked.
ALTER TABLE requests ADD COLUMN not_before BIGINT;
