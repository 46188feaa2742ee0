"""The functions that training code calls, and the state of the process that they share."""
