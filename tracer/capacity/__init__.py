"""What a profile needs and takes, before anything is bought or queued for: GPU memory, hours, disk and money.

No step reaches this room, so that a new price makes nothing stale. Other rooms use ``plan``, ``fleet``, ``hours``,
``memory``, ``dry_run``, ``pods`` and ``jobset``.
"""
