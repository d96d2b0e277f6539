"""Pictures, animations, videos and pages; never part of a Hub repository."""
