"""What is measured about the method and its speed: ablations, what each stage is worth, the comparison with plain TRL.

Only the command line and Dagster use this room: ``ablation``, ``ablation_page``, ``stages``, ``agents``, ``bench`` and
``full_size``.
"""
