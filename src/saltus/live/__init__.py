"""The page that watches: what runs, scans and monitored trainings have found so far, as it happens."""
