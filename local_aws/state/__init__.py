"""What the local AWS remembers in its state folder, and how it comes back.

`saver.py` says when a state is saved, `snapshot.py` what it looks like on the disk. What is in it: all that moto keeps
(`moto_state.py`), but for S3's buckets and objects, which are saved at once (`local_aws/s3/`), and what each service's
`remember` gives.
"""

SAVE_SECONDS = 5.0
"""How long after a change it is saved, at the latest."""
