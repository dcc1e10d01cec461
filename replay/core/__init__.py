"""What everybody talks about: attempts, publications, positions, steps. Pure."""
