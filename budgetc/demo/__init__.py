"""The demo: real surfaces with drawn defects, a teacher trained on them, and a budget that is hard to keep."""
