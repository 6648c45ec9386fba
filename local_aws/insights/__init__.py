"""CloudWatch Logs Insights: a query's text becomes commands (`language.py`), which go over log events (`run.py`).

Source: CloudWatch Logs user guide, "CloudWatch Logs Insights query syntax". What is not carried out is refused by name.
"""
