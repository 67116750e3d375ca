# The rights of the daemon, hallpassd. Load with: bao policy write hallpassd hallpassd.hcl
#
# What is absent matters most. The daemon may read no credential path: only a grant's own token may, once. It may
# neither revoke by prefix nor force a revocation, because both end more than one grant, and a forced one reports
# success without touching the target.

# Ending what was issued.
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "sys/leases/revoke"          { capabilities = ["update"] }
path "sys/leases/lookup"          { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }

# Setting the end of token and lease to the end of the window.
path "auth/token/renew-accessor" { capabilities = ["update"] }
path "sys/leases/renew"          { capabilities = ["update"] }

# Making a grant's token, by its token role only. The role says which policies such a token can have.
path "auth/token/create/hallpass-grant" { capabilities = ["update"] }

# Finding the lease behind a wrapped credential. One block for each credential path, or one for a common prefix; Vault
# demands sudo for this list.
path "sys/leases/lookup/database/creds/hp-*" { capabilities = ["list", "sudo"] }

# Counting the leases that Vault itself gave up on.
path "sys/leases/count" { capabilities = ["read"] }

# Signing the audit log's checkpoints, and the public half of that key. Nothing else of the engine: no export, no rotation.
path "transit/sign/hallpass-ledger" { capabilities = ["update"] }
path "transit/keys/hallpass-ledger" { capabilities = ["read"] }

# Looking after its own login, and finding out what is missing here.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "sys/capabilities-self"  { capabilities = ["update"] }

# Only for `hallpassd doctor`, which checks the settings that hallpass relies on. None of them is secret, and hallpass
# works without these lines: doctor then says what it couldn't look at. Repeat the lines with `database` for each engine.
path "auth/token/roles/hallpass-grant" { capabilities = ["read"] }
path "sys/mounts/auth/token/tune"      { capabilities = ["read"] }
path "sys/policies/acl/cred-*"         { capabilities = ["read"] }
path "sys/mounts"                      { capabilities = ["read"] }
path "sys/mounts/database/tune"        { capabilities = ["read"] }
path "database/roles/hp-*"             { capabilities = ["read"] }
# Vault leaves passwords out of this answer, but not a tls_certificate_key (MySQL): leave this line out if there is one.
path "database/config/orders"          { capabilities = ["read"] }
# Whoever uses this must know the secret id, and learns when it ends.
path "auth/approle/role/hallpassd/secret-id/lookup" { capabilities = ["update"] }
