"""The commands: arguments, one call, output."""
