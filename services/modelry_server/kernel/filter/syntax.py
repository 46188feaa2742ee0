"""Text -> the parser's tree, within bounds; every mistake is a FilterSyntax at its column."""

import re
from collections.abc import Collection
from functools import cache
from importlib import resources
from threading import Lock
from typing import TypeAlias

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken

from modelry_server.kernel.filter.errors import FilterSyntax
from modelry_server.kernel.filter.tree import ATTRIBUTES, Field, Op
from modelry_server.kernel.filter.words import Words

MOST_CHARACTERS = 16_384
MOST_LEVELS = 32
MOST_COMPARISONS = 64  # each is a subquery, and SQLite opens one in a time that grows with their number
MOST_VALUES = 1000

Branch: TypeAlias = Tree[Token]

_ALIASES = {
    "metric": "metrics",
    "param": "params",
    "parameter": "params",
    "parameters": "params",
    "tag": "tags",
    "attribute": ATTRIBUTES,
    "attr": ATTRIBUTES,
    "run": ATTRIBUTES,
    "dataset": "datasets",
}
_OPERATORS = ", ".join(op.value for op in Op)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_FOUND = re.compile(r"""[\w.$#@:/-]+|'[^']*'|"[^"]*"|`[^`]*`|[=<>!]+|.""", re.DOTALL)
_WORD = re.compile(r"[\w.$#@:/-]+")
_LONGEST_SHOWN = 40
_AN_OPERATOR = re.compile(r"[=<>]")
_SYMBOLS = frozenset({"=", "!=", "<", "<=", ">", ">="})
_BEFORE_A_TERM = frozenset({"", "AND", "OR", "NOT", "LPAR"})
# In the order in which they are named; terminals that are not here are covered by one that is.
_EXPECTED = {
    "NOT": "NOT",
    "LPAR": "'('",
    "SINGLE": "a text in quotes",
    "NUMBER": "a number",
    "IN": "IN (otherwise write NOT before the field)",
    "NULL": "NULL",
    "AND": "AND",
    "OR": "OR",
    "COMMA": "','",
    "RPAR": "')'",
    "ASC": "ASC",
    "DESC": "DESC",
    "$END": "the end",
}
_PLAIN = "letters, digits and . _ - / : $ # @"
_building = Lock()


class Source:
    """One text to read: the scopes that it may name, the request's field that it came in, other words for fields."""

    def __init__(self, text: str, scopes: Collection[str], field_name: str, words: Words) -> None:
        self.text = text
        self.scopes = scopes
        self.field_name = field_name
        self._words = words.names
        self._keys = words.keys

    def refusal(self, position: int, found: str, expected: str) -> FilterSyntax:
        """The error at a position, from 0."""
        return FilterSyntax(position + 1, found, expected, text=self.text, field=self.field_name)

    def read(self, start: str) -> Branch:
        """The tree of the text under a start rule of the grammar. Answers soon, whatever the text."""
        if len(self.text) > MOST_CHARACTERS:
            raise self.refusal(MOST_CHARACTERS, f"{len(self.text)} characters", f"at most {MOST_CHARACTERS}")
        if bad := _FORBIDDEN.search(self.text):
            raise self.refusal(bad.start(), f"the control character {bad.group()!r}", "text without control characters")
        parsing = _parser().parse_interactive(self.text, start=start)
        bounds = _Bounds(self)
        try:
            for token in parsing.iter_parse():
                bounds.admit(token)
            tree = parsing.feed_eof()  # type: ignore[no-untyped-call]
        except UnexpectedToken as error:
            at_end = error.token.type == "$END"
            position = len(self.text.rstrip()) if at_end else place(error.token)
        except UnexpectedCharacters as error:
            position = error.pos_in_stream or 0
        else:
            assert isinstance(tree, Tree)
            return tree
        accepted = parsing.accepts()  # type: ignore[no-untyped-call]
        is_key = True  # Where an operator is read already, it may be a part of the key if another one follows.
        if "SINGLE" in accepted:
            is_key = _AN_OPERATOR.search(self.text, position) is not None
        elif "AND" in accepted:
            is_key = _AN_OPERATOR.match(self.text, position) is not None
        advice = bounds.advice if is_key else ""
        found, expected = self.found(position), self._expected(accepted) + advice
        if "SINGLE" in accepted and not advice and (word := self._word(position)):
            found, expected = f"the word {word} without quotes", f"{expected}; write '{word}' for a text"
        raise self.refusal(position, found, expected)

    def field(self, branch: Branch) -> Field:
        """The field that a branch names, by its own name and under a scope that the search knows."""
        *prefix, key = tokens_of(branch)
        scope = prefix[0].strip("`.") if prefix else ATTRIBUTES
        scope = scope if scope in self.scopes else _ALIASES.get(scope, scope)
        if scope not in self.scopes:
            first = (prefix or [key])[0]
            raise self.refusal(place(first), self.found(place(first)), self._fields())
        if not (name := unquoted(key)):
            raise self.refusal(place(key), self.found(place(key)), "a key of at least one character")
        return Field(scope, self._words.get(name, name) if scope == ATTRIBUTES else name)

    def _fields(self) -> str:
        scoped = [f"{scope}.{self._keys.get(scope, '<key>')}" for scope in sorted(self.scopes) if scope != ATTRIBUTES]
        bare = ["the name of a field"] if ATTRIBUTES in self.scopes else []
        *others, last = scoped + bare or ["nothing can be named here"]
        return f"a field ({', '.join(others)} or {last})" if others else f"a field ({last})"

    def found(self, position: int) -> str:
        """What stands at a position, from 0, as an error message shows it."""
        if not (match := _FOUND.match(self.text, position)):
            return "the end"
        found = match.group()
        if found in "'\"`":
            return f"a {found} that is not closed"
        return repr(found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}…")

    def _word(self, position: int) -> str:
        """The word without quotes at a position; empty if there is something else, or a very long one."""
        match = _WORD.match(self.text, position)
        return match.group() if match and len(match.group()) <= _LONGEST_SHOWN else ""

    def _expected(self, terminals: set[str]) -> str:
        if "SYMBOL" in terminals:
            return f"an operator ({_OPERATORS})"
        if "KEY" in terminals:
            return f"a key, in quotes if it has other characters than {_PLAIN}"
        fields = [self._fields()] if "SCOPE" in terminals else []
        return " or ".join(fields + [words for terminal, words in _EXPECTED.items() if terminal in terminals])


class _Bounds:
    """Counts while the text is read, so that a text beyond a limit is refused at the token that is too much."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._before = ""
        self._comparisons = 0
        self._values = 0
        self._in_list = False
        self._nots = 0  # NOTs that wait for their term
        self._bare = ""  # how the key that was read last is written with quotes, if it has none
        self._groups: list[int] = []  # of each open parenthesis, how many levels it and the NOTs before it are

    @property
    def advice(self) -> str:
        """How to write the key that was read last, where the mistake may be that it has no quotes."""
        return f"; a key with other characters than {_PLAIN} needs quotes: {self._bare}" if self._bare else ""

    def admit(self, token: Token) -> None:
        match token.type:
            case "SYMBOL" if token not in _SYMBOLS:
                found = self._source.found(place(token))
                raise self._source.refusal(place(token), found, f"an operator ({_OPERATORS}){self.advice}")
            case "SYMBOL" | "LIKE" | "ILIKE" | "IN" | "IS":
                self._in_list = token.type == "IN"
                self._values = 0
                self._comparisons += 1
                self._limit(token, self._comparisons, MOST_COMPARISONS, "comparisons")
            case "SINGLE" | "DOUBLE" | "NUMBER":
                self._values += 1
                self._limit(token, self._values, MOST_VALUES, "values in one list")
            case "NOT" if self._before in _BEFORE_A_TERM:
                self._nots += 1
                self._limit_levels(token)
            case "LPAR" if not self._in_list:
                self._groups.append(self._nots + 1)
                self._nots = 0
                self._limit_levels(token)
            case "RPAR" if self._in_list:
                self._in_list = False
            case "RPAR" if self._groups:
                self._groups.pop()
            case "AND" | "OR":
                self._nots = 0
            case "SCOPE":
                self._bare = f"{token}`...`"
            case "BACKTICKED" | "ASC" | "DESC":
                self._bare = ""
        self._before = token.type

    def _limit_levels(self, token: Token) -> None:
        self._limit(token, sum(self._groups) + self._nots, MOST_LEVELS, "levels of parentheses and NOT")

    def _limit(self, token: Token, count: int, most: int, what: str) -> None:
        if count > most:
            raise self._source.refusal(place(token), f"{count} {what}", f"at most {most}")


def place(token: Token) -> int:
    """Where a token begins, from 0."""
    return token.start_pos or 0


def tokens_of(branch: Branch) -> list[Token]:
    """The tokens that are direct children of a branch."""
    return [child for child in branch.children if isinstance(child, Token)]


def unquoted(token: Token) -> str:
    """What a token says: without its quotes, and with a doubled quote inside as one."""
    if token.type not in {"SINGLE", "DOUBLE", "BACKTICKED"}:
        return str(token)
    return token[1:-1].replace(token[0] * 2, token[0])


def _parser() -> Lark:
    with _building:
        return _built()


@cache
def _built() -> Lark:
    grammar = resources.files(__package__).joinpath("filter.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", start=["filter", "order"], maybe_placeholders=False)
