# The right of a grant's token for one target, and nothing else: one policy for each target.
# Load with: bao policy write cred-orders-ro cred-orders-ro.hcl
#
# min_wrapping_ttl is what keeps the credential out of the daemon: Vault refuses the read unless the answer is wrapped.
path "database/creds/hp-orders-ro" {
  capabilities     = ["read"]
  min_wrapping_ttl = "1s"
  max_wrapping_ttl = "10m"
}
