"""What `modelry.data` makes: a digest, a schema and a profile of tables, arrays, files, queries and tracked data."""
