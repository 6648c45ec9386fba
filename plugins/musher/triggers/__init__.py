"""Triggers: the waits of the operators, in the triggerer instead of a worker."""
