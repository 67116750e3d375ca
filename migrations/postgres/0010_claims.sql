-- Of two claims again that were decided on the same earlier grant, the later one may come when the other's grant is over:
-- released, say. What was released or taken away isn't given back, so each grant of the request must have ended so that
-- another may follow. Whoever opens a grant has looked; this is for those who looked before the other came.
CREATE FUNCTION grants_only_replaced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM grants
                WHERE request_id = NEW.request_id AND coalesce(cause, '') NOT IN ('ISSUE_FAILED', 'REISSUED'))
    THEN RAISE EXCEPTION 'grants_only_replaced: a grant of the request is held, or ended for good';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER grants_only_replaced BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION grants_only_replaced();
