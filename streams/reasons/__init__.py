"""Why each lender refused, in words: for the applicant and for the regulator, from the evidence."""
