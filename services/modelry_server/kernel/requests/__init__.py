"""What requests have in common: limits of fields, page tokens, update masks, requests that may come twice."""
