"""What plateseal's commands print and leave on the disk, recorded, so that two commits can be compared.

Owns: the scenario (`scenario`), what is left out because it differs from run to run (`plain`), how files are described
(`files`), the comparison and the differences that are meant (`compare`, `intended`).
"""
