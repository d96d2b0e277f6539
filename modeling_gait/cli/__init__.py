"""The command line `gait`; `main.app` is the entry."""
