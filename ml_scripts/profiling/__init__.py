"""Where the time of a training goes, and what its instances did meanwhile.

``clock.py`` splits up the time of each process, ``system.py`` samples each instance, ``trace.py`` keeps a window of
torch.profiler; ``recorded.py`` says what comes of it, ``rules/`` holds one rule a module over that, ``verdict.py`` says
in one sentence what holds the training up, ``choice.py`` reads what a job was told to record, and ``session.py`` ties
all of it to a training. docs/profiler.md explains it.
"""
