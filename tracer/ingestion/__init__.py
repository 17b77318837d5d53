"""From a source's files to canonical shards: parts, assembly, quarantine, mixtures.

Other rooms use ``ingest.ingest``, ``ingest.ingest_source``, ``ingest.check``, ``mixture.mix`` and
``quarantine.quarantined``. Dagster ingests the ``parts`` of a source one by one, adds up their ``counts`` and calls
``assembly`` on them.
"""
