"""Cartwheel: self-hosted marketing automation that speaks Kartra's API."""
