"""S3's objects: kept on the disk from the moment in which they are acknowledged.

`store.py` and `uploads.py` are what S3 does with objects, over `index.py` (which objects there are: SQLite) and
`bodies.py` (what is in them: files by digest). `buckets.py` is moto's side: it keeps the buckets and how they are
configured. `wire.py`, `chunked.py` and `gateway.py` are S3's form on the wire.
"""
