"""The tokens of OIDC issuers: who they speak for, and the keys that verify them."""
