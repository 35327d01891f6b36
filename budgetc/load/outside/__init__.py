"""Files and modules that are code: run in a child process with limits, and come back as data."""
