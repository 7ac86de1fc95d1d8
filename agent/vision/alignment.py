"""Aligning two texts of one plate with the fewest edits (Levenshtein). Pure."""

from __future__ import annotations


def align(reference: str, text: str) -> list[list[int]]:
    """Align a text to the reference with the fewest edits (Levenshtein).

    Returns:
        2 n + 1 columns for a reference of n characters: what comes before the first, at the first, between it and the
        second, and so on; each a list of places in `text`.
    """
    costs = _edit_costs(reference, text)
    places: list[list[int]] = [[] for _ in range(2 * len(reference) + 1)]
    row, column = len(reference), len(text)
    while row > 0 or column > 0:
        here = costs[row][column]
        if row == len(reference) and column > 0 and here == costs[row][column - 1] + 1:
            # Of a character seen twice at the end, the second is the one too many: there, boxes cut characters off.
            column -= 1
            places[2 * row].insert(0, column)
        elif row > 0 and column > 0 and here == costs[row - 1][column - 1] + (reference[row - 1] != text[column - 1]):
            row, column = row - 1, column - 1
            places[2 * row + 1].insert(0, column)
        elif row > 0 and here == costs[row - 1][column] + 1:
            row -= 1
        else:
            column -= 1
            places[2 * row].insert(0, column)
    return places


def _edit_costs(one: str, other: str) -> list[list[int]]:
    """Return Levenshtein's table: changes between the first i characters of one and the first j of the other."""
    table = [[*range(len(other) + 1)]]
    for i, char in enumerate(one, start=1):
        row = [i]
        for j, against in enumerate(other, start=1):
            row.append(min(table[-1][j] + 1, row[-1] + 1, table[-1][j - 1] + (char != against)))
        table.append(row)
    return table


def changes(one: str, other: str) -> int:
    """Return how many characters to change, add or take away lead from one text to the other."""
    return _edit_costs(one, other)[-1][-1]
