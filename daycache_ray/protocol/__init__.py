"""Machines that decide: `handle(message, now)` gives an ordered tuple of effects. No clock, no wire, no disk."""
