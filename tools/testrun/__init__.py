"""How the tests are run: side by side, in parts that are timed, and within CI's time."""
