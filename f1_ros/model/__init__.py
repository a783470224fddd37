"""The F1 network. Reading order:

parts.py, config.py   its shape
tokenizer.py          frames <-> codes
gemma.py, towers.py   the experts' joint attention with its cache; what sees the images
f1.py                 prefix, foresight, flow: the network
losses.py             what training minimises
names.py, checkpoint.py, language.py   files: weights and their names, the instruction's tokens
golden.py, manifest.py                 checks against the release
"""
