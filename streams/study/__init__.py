"""Study decisions: replay one policy against another, say why each answer differs, and report."""
