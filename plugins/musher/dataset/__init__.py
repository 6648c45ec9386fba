"""From the pictures a person has to a checked, versioned data set in the bucket."""

from musher.dataset.layout import Layout, check
from musher.dataset.listing import SPLITS, Item, Listing, list_folder, list_prefix, version
from musher.dataset.source import Limits, S3Prefix, resolve
from musher.dataset.sync import SyncResult, existing, sync_dataset

__all__ = [
    "SPLITS",
    "Item",
    "Layout",
    "Limits",
    "Listing",
    "S3Prefix",
    "SyncResult",
    "check",
    "existing",
    "list_folder",
    "list_prefix",
    "resolve",
    "sync_dataset",
    "version",
]
