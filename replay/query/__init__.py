"""SQL of people, in a process of its own."""
