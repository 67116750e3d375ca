-- What an approver signed, and his signature of it: both or neither, and with them the key's fingerprint and whether it is
-- a hardware key that was touched. `ssh-keygen -Y verify` takes text and signature as they stand here. Denials aren't
-- signed. The triggers on decisions keep all of it from ever changing.
ALTER TABLE decisions ADD COLUMN signed_text TEXT COLLATE "C"
    CONSTRAINT decisions_signed_text_bounded
        CHECK (signed_text IS NULL
               OR (octet_length(signed_text) BETWEEN 1 AND 10240 AND verdict = 'APPROVED'));
ALTER TABLE decisions ADD COLUMN signature TEXT COLLATE "C"
    CONSTRAINT decisions_signature_with_text
        CHECK ((signature IS NULL) = (signed_text IS NULL)
               AND (signature IS NULL OR octet_length(signature) BETWEEN 1 AND 8192));
ALTER TABLE decisions ADD COLUMN signed_with TEXT COLLATE "C"
    CONSTRAINT decisions_signed_with_by_signature
        CHECK ((signed_with IS NULL) = (signature IS NULL)
               AND (signed_with IS NULL OR (length(signed_with) = 50 AND signed_with LIKE 'SHA256:%')));
ALTER TABLE decisions ADD COLUMN user_present BIGINT
    CONSTRAINT decisions_user_present_by_signature
        CHECK ((user_present IS NULL) = (signature IS NULL) AND (user_present IS NULL OR user_present IN (0, 1)));
