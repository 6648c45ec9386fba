"""IAM: who calls, whether policies allow it, and why.

`policy.py` reads policies, with `conditions.py` and `patterns.py`; `evaluate.py` decides by them. These know neither
this AWS nor moto. What a call asks for, and by whom: the local AWS's README goes through the other files.
"""
