"""One alert: its page, its course, what it rests on, what people say of it; and alerts for programs that have no webhook."""
