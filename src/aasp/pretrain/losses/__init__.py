"""The three losses, each a mean over tokens (or views) and channels, so that their weights compare."""
