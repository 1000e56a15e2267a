"""From alert events to people and machines: deliver.py runs it, pipeline.py decides, channels/ speak. Start there."""
