"""The public Python interface of campaignd."""
