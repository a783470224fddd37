"""Datasets of robot episodes: reading, writing, checking, and samples for training."""
