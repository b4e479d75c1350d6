"""Tasks to practise on, and their verifiers."""

from aamc_puppeteer.tasks.verifiers import Callback, CompleteProgram, Coverage, Exact, ModelVerifier, MultipleChoice, Numeric, UnitTests

__all__ = ["Callback", "CompleteProgram", "Coverage", "Exact", "ModelVerifier", "MultipleChoice", "Numeric", "UnitTests"]
