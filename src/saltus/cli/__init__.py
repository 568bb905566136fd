"""The command line: a thin layer over `saltus.api`, with the same words."""
