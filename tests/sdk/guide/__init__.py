"""The examples and claims of the guide to W&B Artifacts, one file per chapter, as code and words of our own."""
