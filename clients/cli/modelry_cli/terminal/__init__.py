"""What people see: tables, JSON, curves and words. Only `output` prints."""
