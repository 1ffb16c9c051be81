"""Bytes that nobody thought of, for everything that reads bytes of others: `python -m fuzz --seconds 120`.

Here live the targets, each a function that is given any bytes and holds a decoder to its promise; the corpus, which is
kept, and `make_corpus`, which writes it; and the engine, the only file that needs atheris. What the decoders promise is
also tested by properties (`tests/test_codec_properties.py`); what a running server does with such bytes is tested in
`tests/test_hostile.py`.
"""
