"""Implementations of the contracts, by technology (floor: above the contracts)."""
