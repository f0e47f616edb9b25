"""Prediction of the next keys as pure structures: history, tables, ranking, chains, and eviction to judge them by."""
