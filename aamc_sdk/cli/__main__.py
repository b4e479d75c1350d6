"""``python -m aamc_sdk.cli``: the command where its script is not on the path."""

from aamc_sdk.cli import main

if __name__ == "__main__":
    main()
