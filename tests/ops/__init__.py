"""Operations: what a repository does."""
