"""The puppeteer: a policy, taught by REINFORCE, activates agents one after the other until a task is solved."""
