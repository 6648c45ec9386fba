"""Application Auto Scaling without its operations: what is kept, what is decided every minute, and what can be scaled.

`kinds.py` says what a service has to know of something that scales; `endpoints/scaling.py` and `functions/scaling.py`
are the two that do.
"""
