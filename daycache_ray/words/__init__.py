"""The words of the cache: types, errors, limits, configuration, messages, effects, ports. Imports no other floor."""
