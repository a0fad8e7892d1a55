"""Our revisions, oldest first; each stands by itself and never changes once released (floor: backends)."""
