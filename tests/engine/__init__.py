"""The engine on the memory backend, with a clock that stands still."""
