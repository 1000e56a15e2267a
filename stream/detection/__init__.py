"""From counts to decisions: surge.py is the arithmetic, detect.py runs it, judge.py decides, evidence.py freezes what it stands on."""
