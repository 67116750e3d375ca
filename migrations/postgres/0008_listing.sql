-- What exceptions are listed by. Each way of narrowing a list gives the ids of requests in their order, so that a page
-- reads little more than it shows, however long the history is.

-- The groups that made the requester one, as a JSON list of texts.
ALTER TABLE requests ADD COLUMN groups TEXT COLLATE "C" NOT NULL DEFAULT '[]'
    CONSTRAINT requests_groups_list CHECK (json_typeof(groups::json) = 'array');

-- An index over the lists in `requests.groups`, kept by the trigger below.
CREATE TABLE request_groups (
    name       TEXT COLLATE "C" CONSTRAINT request_groups_name_given NOT NULL,
    request_id TEXT COLLATE "C" CONSTRAINT request_groups_request_given NOT NULL
                                CONSTRAINT request_groups_request REFERENCES requests (id),

    CONSTRAINT request_groups_key PRIMARY KEY (name, request_id)
);

CREATE FUNCTION requests_indexed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO request_groups (name, request_id)
    SELECT DISTINCT value, NEW.id FROM json_array_elements_text(NEW.groups::json);
    RETURN NULL;
END $$;
CREATE TRIGGER requests_indexed AFTER INSERT ON requests FOR EACH ROW EXECUTE FUNCTION requests_indexed();

-- Texts are found by their trigrams, whatever the case: that of all languages, which ICU knows on every system alike; by way of
-- the upper case, so that the Kelvin sign is a k and the long s is an s. The extension comes with PostgreSQL, and whoever owns the database may make it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX reason_index ON requests USING gin (lower(upper(reason COLLATE "und-x-icu")) gin_trgm_ops);
CREATE INDEX statement_index ON decisions USING gin (lower(upper(statement COLLATE "und-x-icu")) gin_trgm_ops);

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
