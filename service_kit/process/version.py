"""The version of this release, written here alone: packages, programs and the changelog take it."""

VERSION = "0.1.0"
"""Semantic: until 1.0.0 a minor version may break what users rely on, and its changelog says so."""
