"""Hooks: what the Amazon provider lacks or gets wrong, see each module."""
