"""Reads written pages."""

import html.parser
import re

_VOID = {"meta", "br", "wbr", "hr", "img", "input", "link", "col"}


class Page(html.parser.HTMLParser):
    """Reads a page, checks that its tags balance, and keeps what tests need."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)

    def says(self, words):
        return words in re.sub(r"\s+", " ", "".join(self.words))
