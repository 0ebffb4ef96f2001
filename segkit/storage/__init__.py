"""Where pictures, labels and split files are: the one way through which they are listed and read,
whether they lie on a local disk, in an object store, or in shards on either.

    /data/ade20k, data/ade20k      local files, which cost what they always did
    s3://bucket/ade20k             any address of fsspec                        stores.py
    shards:///data/ade20k          tar files with an index, below a local folder or,
    shards://s3://bucket/ade20k    a store                                      shards.py
"""

from .files import exists, is_remote, join, list_folder, on_disk, read, version_of
from .stores import StoreError

__all__ = [
    'StoreError',
    'exists',
    'is_remote',
    'join',
    'list_folder',
    'on_disk',
    'read',
    'version_of',
]
