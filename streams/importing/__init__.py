"""Own data in, no code: a credit CSV and a map of its columns become events and labels."""
