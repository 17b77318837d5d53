"""What is measured about the method and its speed: ablations, what each stage is worth, the bench beside bare TRL."""
