"""What principals may do, who sees whom, and what a caller may give and take."""
