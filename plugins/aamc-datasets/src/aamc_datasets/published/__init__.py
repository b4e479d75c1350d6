"""Dataset formats of published outcomes: LLMRouter, RouteLLM, RouterArena, RouterBench, LLMRouterBench, EmbedLLM and Chatbot Arena."""
