"""What a study's ledger says: its events, and the state that follows from them, read one by one."""
