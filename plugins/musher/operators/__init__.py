"""Operators: the steps that the DAGs wire together, each in the provider's own shape."""
