"""What people say of an alert or a label: kept, so that it can be learned from."""

from starlette.routing import Route

API: list[Route] = []
