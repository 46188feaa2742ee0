"""Files: uploads, downloads, and which paths are allowed."""
