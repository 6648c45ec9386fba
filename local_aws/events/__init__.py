"""EventBridge: which rules an event matches, what a target gets of it, and how it gets there; moto keeps the rules."""
