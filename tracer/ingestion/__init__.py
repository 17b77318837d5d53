"""From a source's files to canonical shards: parts, assembly, quarantine, mixtures.

Other rooms use ``ingest.ingest``, ``assembly.ingest_source``, ``mixture.mix``, ``check.check`` and
``quarantine.quarantined``.
"""
