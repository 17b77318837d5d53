"""What is measured about the method and its speed: the ablations, and the bench beside bare TRL."""
