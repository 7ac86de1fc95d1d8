"""What a unit says about itself: metrics, the health report, the text of `plateseal status`."""
