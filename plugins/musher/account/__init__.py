"""What a run needs of the account, compared with what the account has, before anything is launched."""
