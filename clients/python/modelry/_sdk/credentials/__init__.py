"""Who calls: tokens and where they come from, kept logins, and files that are this user's alone. Knows no server."""
