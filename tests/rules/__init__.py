"""What a program can tell of a source file by its syntax tree; what is allowed is for the tests that use it."""
