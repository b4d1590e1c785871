"""The parts of the documentation that are made from the program: `make reference` writes them, a test compares them."""
