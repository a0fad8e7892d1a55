"""Whole processes on real databases, and what can go wrong between them."""
