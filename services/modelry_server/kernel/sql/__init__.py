"""Databases: transactions, statements, filters as SQL. The only part of the kernel that knows SQL."""
