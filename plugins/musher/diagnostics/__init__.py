"""What Airflow does about what the rules of a training find: ml_scripts/diagnostics finds, this acts."""
