-- The events of a request were found by an index, and each commit wrote a page of it for one entry. Now the last fifteen events at
-- most are looked through, and each sixteenth enters those since the one before into this index, most of them on the same page.

DROP INDEX audit_events_by_request;

-- An index over `audit_events.request_id`, kept by the trigger below, but for the events after the last sixteenth.
CREATE TABLE audit_events_by_request (
    request_id TEXT    CONSTRAINT audit_events_by_request_request_given NOT NULL,
    sequence   INTEGER CONSTRAINT audit_events_by_request_sequence_given NOT NULL,

    CONSTRAINT audit_events_by_request_key PRIMARY KEY (request_id, sequence)
) STRICT, WITHOUT ROWID;

INSERT INTO audit_events_by_request (request_id, sequence)
SELECT request_id, sequence FROM audit_events
 WHERE request_id IS NOT NULL AND sequence <= (SELECT max(sequence) / 16 * 16 FROM audit_events)
 ORDER BY request_id, sequence;

CREATE TRIGGER audit_events_indexed AFTER INSERT ON audit_events WHEN NEW.sequence % 16 = 0
BEGIN
    INSERT INTO audit_events_by_request (request_id, sequence)
    SELECT request_id, sequence FROM audit_events WHERE sequence > NEW.sequence - 16 AND request_id IS NOT NULL;
END;

-- What the events of a request are read from.
CREATE VIEW request_events (request_id, sequence, leaf, texts) AS
SELECT i.request_id, i.sequence, e.leaf, e.texts
  FROM audit_events_by_request i CROSS JOIN audit_events e ON e.sequence = i.sequence
UNION ALL
SELECT request_id, sequence, leaf, texts FROM audit_events
 WHERE request_id IS NOT NULL AND sequence > (SELECT max(sequence) / 16 * 16 FROM audit_events);
