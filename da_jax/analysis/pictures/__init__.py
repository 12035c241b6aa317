"""Pictures of a student beside its teacher; they take matplotlib, the extra `plots`."""
