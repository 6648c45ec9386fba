"""An AWS that runs on this machine: jobs really train, endpoints really serve, functions really throttle.

Start it with `python -m local_aws`. It knows nothing of the project it is used by.
"""
