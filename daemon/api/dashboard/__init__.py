"""The read-only page at `/`: HTML, style sheet, login and session."""
