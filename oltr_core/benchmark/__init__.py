"""Published tables, ours beside them: `tables` says what is compared, `cells` computes, `run` does all of it."""
