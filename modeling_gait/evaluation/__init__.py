"""Metrics, privacy, calibration; never part of a Hub repository."""
