"""How an instance's processes are started and ended. Each file but `forks.py` runs in a process of its own."""
