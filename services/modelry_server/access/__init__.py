"""Access: workspaces; later tokens and roles.

Owns the tables `workspaces`, `access_requests`, `access_secrets`. Calls no other service.

Always true:
- the workspace `default` exists;
- a workspace never changes its name.
"""
