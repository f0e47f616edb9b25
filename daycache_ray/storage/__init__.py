"""The node-shared store: one owner writes a replica's records into shared memory, every process of the node reads them.

Knows records, turns and files; not who is primary, what a level promises, or how anything travels.
"""
