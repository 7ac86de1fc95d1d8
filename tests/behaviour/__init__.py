"""What plateseal's commands print and leave on the disk, as recorded in `recorded.json`, so that a change shows.

Owns: the scenario (`scenario`), what is left out because it differs from run to run (`plain`), how files are described
(`files`), and the comparison (`compare`).
"""
