"""Dataset formats of published outcomes: LLMRouter, RouteLLM, RouterArena, RouterBench, EmbedLLM and Chatbot Arena."""
