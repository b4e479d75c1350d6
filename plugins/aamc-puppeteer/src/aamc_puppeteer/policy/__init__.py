"""The policy: a neural network (:mod:`aamc_puppeteer.policy.network`), and the features that it sees."""
