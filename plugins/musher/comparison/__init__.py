"""Two models under the same load: what is measured, in which order, and what the figures say.

Knows nothing of Airflow and AWS: what it measures with is given to it.
"""
