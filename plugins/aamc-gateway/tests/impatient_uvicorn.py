"""asyncio for uvicorn, which looks every 0.1 s whether it shall end, and then whether its connections have: two thirds of a short test."""

import asyncio
from types import SimpleNamespace

IMPATIENT = SimpleNamespace(**{**vars(asyncio), "sleep": lambda seconds: asyncio.sleep(seconds / 20)})
