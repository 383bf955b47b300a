"""Parse and print: one thin module per family of commands."""
