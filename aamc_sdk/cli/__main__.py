"""``python -m aamc_sdk.cli``: the command ``aamc`` without its script."""

from aamc_sdk.cli import main

if __name__ == "__main__":
    main()
