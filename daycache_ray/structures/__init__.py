"""Pure structures. What they need (a time, a random generator) arrives as an argument."""
