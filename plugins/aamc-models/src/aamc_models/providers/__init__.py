"""The providers: each speaks one dialect to servers."""
