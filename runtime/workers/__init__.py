"""What each role can do, and the processes that host the roles."""
