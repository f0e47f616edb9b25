"""A seeded world in which the machines of floors 0 to 2 run through faults; ships, so that a failure replays."""
