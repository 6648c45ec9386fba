"""Training jobs: AWS's own training toolkit in real processes, one process tree an instance."""
