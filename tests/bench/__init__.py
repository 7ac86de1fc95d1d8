"""The measurements of `make bench`: what plateseal promises about speed, memory and accuracy, row by row."""
