"""`campaignd demo`: campaigns of every type that fire within seconds."""
