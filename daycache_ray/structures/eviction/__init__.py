"""Which entry goes when there is no room: one policy a file, none of them knows a clock, a store or a budget."""
