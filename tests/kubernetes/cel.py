"""Evaluates the part of CEL that the MutatingAdmissionPolicy uses: literals of messages, lists and maps, `+`, `?:`, has().

Owns: parse and value of one expression. Never knows: Kubernetes.
"""

import re

TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([0-9]+)|([A-Za-z_][A-Za-z0-9_.]*)|(\|\||&&|==|[-+?:!{}()\[\],]))')


class Expression:
    """A recursive descent over the tokens; values are plain lists, dictionaries, texts, numbers."""

    def __init__(self, text, variables):
        self.tokens, self.at, self.variables = [], 0, variables
        end = 0
        while text[end:].strip():
            match = TOKEN.match(text, end)
            if not match:
                raise ValueError(f"not CEL at: {text[end:end + 40]!r}")
            self.tokens.append(match.group().strip())
            end = match.end()

    def value(self):
        found = self.choice()
        if self.at != len(self.tokens):
            raise ValueError(f"more than one expression at: {self.tokens[self.at:][:6]}")
        return found

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected=None):
        token = self.peek()
        if expected and token != expected:
            raise ValueError(f"{token!r} where {expected!r} must be, at {self.tokens[max(0, self.at - 6):self.at]}")
        self.at += 1
        return token

    def choice(self):
        chosen = self.sum()
        if self.peek() == "?":
            self.take()
            yes = self.choice()
            self.take(":")
            no = self.choice()
            return yes if chosen else no
        return chosen

    def sum(self):
        total = self.one()
        while self.peek() == "+":
            self.take()
            total = total + self.one()
        return total

    def several(self, end, item):
        found = []
        while self.peek() != end:
            found.append(item())
            if self.peek() != end:
                self.take(",")
        self.take(end)
        return found

    def one(self):
        token = self.take()
        if token == "(":
            inner = self.choice()
            self.take(")")
            return inner
        if token == "[":
            return self.several("]", self.choice)
        if token == "{":
            return dict(self.several("}", lambda: self.pair(self.one)))
        if token.startswith('"'):
            return token[1:-1]
        if token.isdigit():
            return int(token)
        if token in ("true", "false"):
            return token == "true"
        if self.peek() == "{":
            self.take()
            return dict(self.several("}", lambda: self.pair(self.take)))
        if self.peek() == "(":
            return self.call(token)
        return self.member(token)

    def pair(self, key):
        name = key()
        self.take(":")
        return name, self.choice()

    def call(self, name):
        self.take("(")
        if name == "has":
            path = self.take()
            self.take(")")
            return self.member(path) is not None
        if name == "jsonpatch.escapeKey":
            text = self.choice()
            self.take(")")
            return text.replace("~", "~0").replace("/", "~1")
        raise ValueError(f"function {name}")

    def member(self, path):
        found = self.variables
        for name in path.split("."):
            found = (found or {}).get(name)
        return found


def patched(document, operations):
    """JSON Patch, as far as `add`."""
    for each in operations:
        if each["op"] != "add":
            raise ValueError(each["op"])
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in each["path"].split("/")[1:]]
        target = document
        for part in path:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if not isinstance(target, list):
            target[last] = each["value"]
        elif last == "-":
            target.append(each["value"])
        else:
            target.insert(int(last), each["value"])
    return document
