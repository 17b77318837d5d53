"""What is measured about the method and its speed: ablations, what each stage is worth, the comparison with plain TRL.

Only the command line and the Dagster job ``ablations`` use this room.
"""
