"""CloudFormation: stacks of what lives here and of what moto keeps.

Moto reads templates, resolves functions, and makes the kinds of resources that it keeps; what lives here is made,
changed and deleted by its service's own operations (`kinds.py` and those after it). When what happens, what is undone
and what is said of it is `change.py`'s. Source: AWS CloudFormation user guide and API reference.

Nothing here imports moto's CloudFormation, which imports twenty other services, but `moto_side.py`, which is imported
when CloudFormation is called first.
"""
