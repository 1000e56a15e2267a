"""The demo's small world: ten invented companies, their catalogue, and what is said of them in Chinese and English."""
