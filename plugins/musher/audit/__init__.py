"""The security audit: what it looks at, read-only, and what it has to say about it."""
