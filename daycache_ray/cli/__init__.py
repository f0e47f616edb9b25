"""The command line: `daycache up`, `status`, `get`, `set`, `doctor` … A door, nothing is decided here."""
