"""IAM: whether policies allow a call, and why.

`policy.py` reads policies, with `conditions.py` and `patterns.py`; `evaluate.py` decides by them. These know neither
this AWS nor moto.
"""
