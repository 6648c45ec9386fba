"""The profiler's rules, one a module; names, parameters and defaults are those of SageMaker Debugger's profiler rules.

AWS: SageMaker developer guide, "List of Debugger built-in profiler rules" (debugger-built-in-profiler-rules).
"""
