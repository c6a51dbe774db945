"""What each role's process shows of itself."""
