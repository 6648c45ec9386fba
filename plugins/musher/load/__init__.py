"""The load generator and the verdict. Knows nothing of Airflow, and of AWS only what `targets` says.

Open loop: requests leave when the schedule says, whatever became of the ones before, and latency counts from the
scheduled time. A closed loop would send less as soon as the system slows down, and so hide exactly what is looked for
(Gil Tene, "How NOT to Measure Latency": coordinated omission).
"""
