"""The project in an account, with Airflow on MWAA: `make deploy ENV=...` and `make destroy ENV=...`."""
