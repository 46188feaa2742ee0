"""Access: workspaces, principals, groups, API tokens, roles and their bindings; who a credential belongs to.

Owns the tables `workspaces`, `principals`, `groups`, `group_members`, `tokens`, `roles`, `role_bindings`,
`access_changes`, `access_state`, `used_bootstrap_tokens`, `access_audit_records`, `access_requests`,
`access_secrets`. Calls no other service.

Always true:
- the workspace `default` exists;
- a workspace, a principal and a group never change their names, and a principal is never deleted;
- the text of a token is stored nowhere, only its digest;
- once somebody administers the installation, somebody does, and only a bootstrap token of the settings makes another
  administrator, once;
- each change is written down in the chain `access`, and all changes come one after another.
"""
