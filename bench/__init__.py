"""Measurements of the cache and its peers. Stands beside the house: nothing in it imports this."""
