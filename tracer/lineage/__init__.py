"""What made an output folder, and whether it is up to date.

Other rooms use ``step.run_step`` to run a step, ``digest`` for contents, ``code`` for the digest of a module, ``pins``
for DVC pointers, ``provenance`` for commit and hardware, and ``why`` to explain why a step would run again.
"""
