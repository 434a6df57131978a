"""What institutions pay the platform: schedules as data, a meter over what happened, statements."""
