"""What a deployed file costs and how well it works, measured through the file itself."""
