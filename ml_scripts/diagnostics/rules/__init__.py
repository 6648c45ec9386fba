"""The rules, one a module; the names, parameters and defaults of AWS's own are those of SageMaker Debugger.

AWS: SageMaker developer guide, "List of Debugger built-in rules" (debugger-built-in-rules).
"""
