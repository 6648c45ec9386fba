"""What is wrong with a training, found while it runs: rules over statistics that one pass of it leaves behind.

``statistics.py`` says what is recorded, ``recorder.py`` records it, ``rules/`` holds one rule a module, ``choice.py``
reads which of them a job was told to evaluate, and ``session.py`` ties them to a training. docs/diagnostics.md explains
the rules.
"""
