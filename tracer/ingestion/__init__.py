"""From a source's files to canonical shards: parts, assembly, quarantine, mixtures.

Other rooms use ``ingest.ingest``, ``ingest.ingest_source``, ``ingest.check``, ``mixture.mix`` and
``quarantine.quarantined``; ``items.items`` reads a source and writes nothing. Dagster ingests the ``parts`` of a source
one by one and joins them with ``assembly.join_parts``; ``counts`` names the file of their statistics.
"""
