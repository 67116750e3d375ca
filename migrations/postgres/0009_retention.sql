-- Texts of what is over may be replaced by their digests: `sha256:` and hex. Whether that was done, `texts_erased_at` says,
-- and nothing else, because people may write what looks like a digest. All texts of a request go together, in one
-- transaction with the event that says so: first the request's, then those of its decisions and events, which the triggers
-- demand.

ALTER TABLE requests ADD COLUMN texts_erased_at BIGINT
    CONSTRAINT requests_texts_erased_when_settled
        CHECK (texts_erased_at IS NULL
               OR (state IN ('DENIED', 'WITHDRAWN', 'LAPSED', 'CLAIMED')
                   AND length(reason) = 71 AND reason LIKE 'sha256:%'));
-- What decisions were bound to. It is computed from the reason, so it is kept where there is none any more.
ALTER TABLE requests ADD COLUMN digest TEXT COLLATE "C"
    CONSTRAINT requests_digest_without_reason
        CHECK ((digest IS NULL) = (texts_erased_at IS NULL)
               AND (digest IS NULL OR (length(digest) = 71 AND digest LIKE 'sha256:%')));
ALTER TABLE decisions ADD COLUMN texts_erased_at BIGINT
    CONSTRAINT decisions_texts_erased
        CHECK (texts_erased_at IS NULL
               OR (length(statement) = 71 AND statement LIKE 'sha256:%'
                   AND (signed_text IS NULL OR (length(signed_text) = 71 AND signed_text LIKE 'sha256:%'))));
ALTER TABLE freezes ADD COLUMN texts_erased_at BIGINT
    CONSTRAINT freezes_texts_erased_when_thawed
        CHECK (texts_erased_at IS NULL
               OR (thawed_at IS NOT NULL AND length(reason) = 71 AND reason LIKE 'sha256:%'));

CREATE INDEX requests_with_texts ON requests (id)
 WHERE texts_erased_at IS NULL AND state IN ('DENIED', 'WITHDRAWN', 'LAPSED', 'CLAIMED');
CREATE INDEX freezes_with_texts ON freezes (thawed_at, id) WHERE texts_erased_at IS NULL AND thawed_at IS NOT NULL;
CREATE INDEX audit_events_of_freezes ON audit_events (sequence) WHERE kind IN ('TargetsFrozen', 'TargetsThawed');

-- What was asked is what was approved. The reason has a trigger of its own.
CREATE TRIGGER requests_ask_never_changes BEFORE UPDATE OF id, target, credential_path, requester_subject,
    requester_name, duration_seconds, ticket, approvals_required, submitted_at, idempotency_key, not_before, groups
    ON requests FOR EACH ROW
EXECUTE FUNCTION refuse('requests_ask_never_changes: decisions are bound to what was asked');

CREATE FUNCTION requests_texts_only_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.texts_erased_at IS NOT NULL OR NEW.texts_erased_at IS NULL
       OR EXISTS (SELECT 1 FROM grants WHERE request_id = OLD.id AND state NOT IN ('REVOKED', 'FAILED'))
    THEN RAISE EXCEPTION 'requests_texts_only_go: texts are erased once, when all is over';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER requests_texts_only_go BEFORE UPDATE OF reason, digest, texts_erased_at ON requests FOR EACH ROW
EXECUTE FUNCTION requests_texts_only_go();

CREATE TRIGGER requests_move BEFORE UPDATE ON requests FOR EACH ROW
WHEN (NEW.revision <> OLD.revision + 1
      OR NOT (CASE WHEN NEW.texts_erased_at IS DISTINCT FROM OLD.texts_erased_at
                        THEN NEW.state = OLD.state AND NEW.withdrawn_at IS NOT DISTINCT FROM OLD.withdrawn_at
                             AND NEW.lapsed_at IS NOT DISTINCT FROM OLD.lapsed_at
                             AND NEW.claimed_at IS NOT DISTINCT FROM OLD.claimed_at
                   WHEN OLD.state = 'PENDING' THEN NEW.state <> 'CLAIMED'
                   WHEN OLD.state = 'APPROVED' THEN NEW.state IN ('CLAIMED', 'WITHDRAWN', 'LAPSED')
                   ELSE FALSE END))
EXECUTE FUNCTION refuse('requests_move: the request can not move so');

-- Whoever opens a grant has looked; this is for those who looked just before.
CREATE FUNCTION grants_not_without_texts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT texts_erased_at FROM requests WHERE id = NEW.request_id) IS NOT NULL
    THEN RAISE EXCEPTION 'grants_not_without_texts: the request is long over';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER grants_not_without_texts BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION grants_not_without_texts();

CREATE TRIGGER decisions_never_change BEFORE UPDATE OF request_id, position, verdict, approver_subject, approver_name,
    digest, decided_at, signature, signed_with, user_present, groups, duration_seconds, not_before, not_after ON decisions
FOR EACH ROW EXECUTE FUNCTION refuse('decisions_never_change: decisions are evidence');

CREATE FUNCTION decisions_texts_only_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.texts_erased_at IS NOT NULL OR NEW.texts_erased_at IS NULL
       OR NEW.texts_erased_at IS DISTINCT FROM (SELECT texts_erased_at FROM requests WHERE id = OLD.request_id)
    THEN RAISE EXCEPTION 'decisions_texts_only_go: texts are erased once, with those of the request';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decisions_texts_only_go BEFORE UPDATE OF statement, signed_text, texts_erased_at ON decisions FOR EACH ROW
EXECUTE FUNCTION decisions_texts_only_go();

CREATE TRIGGER decisions_begin_with_texts BEFORE INSERT ON decisions FOR EACH ROW
WHEN (NEW.texts_erased_at IS NOT NULL)
EXECUTE FUNCTION refuse('decisions_begin_with_texts: a decision is in writing');

CREATE TRIGGER freezes_move BEFORE UPDATE ON freezes FOR EACH ROW
WHEN (NEW.revision <> OLD.revision + 1 OR NEW.ends_grants < OLD.ends_grants
      OR NOT (CASE WHEN OLD.thawed_at IS NULL THEN NEW.texts_erased_at IS NULL
                   ELSE OLD.texts_erased_at IS NULL AND NEW.texts_erased_at IS NOT NULL
                        AND NEW.thawed_at IS NOT DISTINCT FROM OLD.thawed_at AND NEW.ends_grants = OLD.ends_grants
                        AND NEW.by_subject = OLD.by_subject AND NEW.by_name = OLD.by_name END))
EXECUTE FUNCTION refuse('freezes_move: the freeze can not move so');

-- The leaf has the digests, so the log stays what it is.
CREATE FUNCTION audit_events_texts_go_with_others() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM requests WHERE id = OLD.request_id AND texts_erased_at IS NOT NULL)
       AND NOT (OLD.kind IN ('TargetsFrozen', 'TargetsThawed')
                AND EXISTS (SELECT 1 FROM freezes
                             WHERE extent = (OLD.leaf::json #>> '{detail,extent}') AND texts_erased_at IS NOT NULL))
    THEN RAISE EXCEPTION 'audit_events_texts_go_with_others: what is kept of an exception is kept of its events';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_events_texts_go_with_others BEFORE UPDATE OF texts ON audit_events FOR EACH ROW
WHEN (NEW.texts IS NULL) EXECUTE FUNCTION audit_events_texts_go_with_others();
