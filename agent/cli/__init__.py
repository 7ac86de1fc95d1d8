"""The command line. Thin: it parses arguments, calls one function, and prints."""
