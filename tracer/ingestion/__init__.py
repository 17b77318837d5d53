"""From a source's files to canonical shards: parts, assembly, quarantine, mixtures."""
