"""The orchestrator ``puppeteer``: a learned policy activates one agent after the other until a task is solved."""
