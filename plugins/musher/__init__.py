"""What the DAGs are wired from: configuration, requests to AWS, operators, the load generator and the report.

On MWAA this folder's parent is plugins.zip, whose top level is on sys.path: import as `musher.config`.
"""
