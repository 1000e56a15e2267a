"""The past through the detector: back-tests, previews, what a new installation need not wait for, another setting beside the live one."""
