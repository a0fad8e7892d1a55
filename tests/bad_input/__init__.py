"""PROTOCOL section 9, row by row: on the API, on the command line, and with inputs that nobody thought of."""
