"""The nouns of budgetc: plain data and pure functions, no torch, no clock, no disk."""
