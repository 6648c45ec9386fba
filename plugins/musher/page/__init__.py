"""Musher in Airflow's UI: a FastAPI application that the API server mounts (`plugins/musher_page.py`)."""
