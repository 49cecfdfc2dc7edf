"""The HTTP face: what callers send, what they get back, and who may."""
