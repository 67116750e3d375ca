-- What the events of a request are read from. In SQLite it is put together from two places; here an index finds them.
CREATE VIEW request_events (request_id, sequence, leaf, texts) AS
SELECT request_id, sequence, leaf, texts FROM audit_events WHERE request_id IS NOT NULL;
