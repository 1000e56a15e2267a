"""How a process and the installation fare: the books, the beat, what is unwell; what `groundswell up` brings along and leaves a note of."""
