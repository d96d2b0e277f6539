"""Arguments, data, the loop and saving that the training scripts share; never part of a Hub repository."""
