"""Values of training code as plain ones: texts, numbers, times, arrays, and what JSON has. Knows no server."""
