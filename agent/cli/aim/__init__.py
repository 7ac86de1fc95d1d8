"""`plateseal aim`: a live picture in the terminal for whoever stands on the ladder."""
