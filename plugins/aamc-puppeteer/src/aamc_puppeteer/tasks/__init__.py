"""Tasks to practise on: published suites, and verifiers."""

from aamc_puppeteer.tasks.verifiers import Callback, CompleteProgram, Coverage, Exact, ModelVerifier, MultipleChoice, Numeric, UnitTests

__all__ = ["Callback", "CompleteProgram", "Coverage", "Exact", "ModelVerifier", "MultipleChoice", "Numeric", "UnitTests"]
