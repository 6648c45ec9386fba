"""Lambda functions: their records and code, the processes that run them, and how many may run at once."""
