"""Tuning jobs: trials are real training jobs, their values come from optuna."""
