"""Measuring on a board: reached by ssh, or fed by a kit that somebody carries there."""
