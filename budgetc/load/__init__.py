"""The edge: everything that comes from outside is read, checked and refused here, once."""
