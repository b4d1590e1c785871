"""The verdict on files, and on what is piped through."""
