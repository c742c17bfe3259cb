"""Declarations of the claims, one file a paper or topic."""
