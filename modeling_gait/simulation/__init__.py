"""The parametric simulator of walks, the data set that needs no download; never part of a Hub repository."""

from .simulator import CLOTHING, FOOTWEAR, LOADS, PATHOLOGIES, SIDES, UNSIDED, SimulatedWalks, simulate_walks

__all__ = ["CLOTHING", "FOOTWEAR", "LOADS", "PATHOLOGIES", "SIDES", "UNSIDED", "SimulatedWalks", "simulate_walks"]
