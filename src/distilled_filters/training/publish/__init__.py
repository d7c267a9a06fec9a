"""From a finished filter folder to the Hub, or to a wheel of its own; needs the extra `[publish]`, no torch."""
