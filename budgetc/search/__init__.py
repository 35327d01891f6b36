"""What to try next: pure decisions from what is known so far. No torch, no clock, no disk."""
