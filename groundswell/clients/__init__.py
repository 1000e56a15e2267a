"""Kafka and Redis as this process reaches them: addresses and certificates read, clients made, refusals put into words. Read connect.py."""
